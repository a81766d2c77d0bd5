//! Rules for one Rust file: its size, and the names that only certain files may speak.
//!
//! **Does not** read files: every rule is a function of a path and a text, and is shown to fail
//! on a sample below.

use super::lexer::{code_only, functions, has_word};

pub(super) const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
pub(super) const COLUMNS_MAX: usize = 100;

/// A name and the only places that may speak it; a place that ends in `/` is a folder.
struct Reserved {
    word: &'static str,
    places: &'static [&'static str],
    because: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        word: "rocksdb",
        places: &["daemon/store/src/rocks/", "tests/compare/src/"],
        because: "one module of the store knows RocksDB, and who compares with it",
    },
    Reserved {
        word: "bincode",
        places: &["protocol/src/wire.rs"],
        because: "a codec of our own must be able to replace it in one file",
    },
    Reserved {
        word: "spawn_blocking",
        places: &["daemon/src/service/pool.rs", "client/lib/src/aio/hop.rs"],
        because: "one module a side hops from async to blocking",
    },
    Reserved {
        word: "unsafe",
        places: &[
            // The C library is given a function to call at the end.
            "client/lib/src/board/of_process.rs",
            // A mapping of a board is a bare pointer, to read and to write.
            "client/lib/src/board/mapping.rs",
            "client/python/src/blob.rs",
            "daemon/src/server/peer_groups.rs",
            "daemon/src/service/boards/memory.rs",
            "daemon/src/systemd.rs",
            // A received descriptor is a bare number.
            "protocol/descriptors/src/control.rs",
            // The one place that maps memory, and only what is sealed.
            "protocol/descriptors/src/mapping.rs",
            "tests/compare/src/lmdb.rs",
            "tests/compare/src/mapped.rs",
            // A process is forked.
            "tests/integration/board/forked.rs",
            "tests/faults/src/",
        ],
        because: "each kind of unsafe has one listed file",
    },
    Reserved { word: "todo", places: &[], because: "no stubs" },
    Reserved { word: "unimplemented", places: &[], because: "no stubs" },
];

/// A reserved word that tests may speak: they have to block somewhere.
const IN_TESTS: &str = "spawn_blocking";

/// Comments that say something was left undone.
const UNDONE: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];

/// What a line must carry, with a reason behind it, to wait by the clock.
const SLEEP_MARKER: &str = "tidy: sleeps because ";

/// Everything that is wrong with one Rust file, a line of text each.
pub(super) fn problems(path: &str, source: &str) -> Vec<String> {
    let code = code_only(source);
    let mut found = size(source, &code);
    found.extend(reserved_words(path, &code));
    found.extend(skipped_tests(&code));
    found.extend(undone(source));
    found.extend(sleeps(path, source, &code));
    // A fuzz target only names the function that it calls.
    if !is_test_module(path) && !path.contains("/fuzz_targets/") {
        found.extend(opening(source));
    }
    found.into_iter().map(|problem| format!("{path}:{problem}")).collect()
}

fn size(source: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{lines}: a file has at most {FILE_LINES_MAX} lines"));
    }
    for function in functions(code).iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
        found.push(format!(
            "{}: fn {} has {} lines of at most {FUNCTION_LINES_MAX}",
            function.line, function.name, function.lines
        ));
    }
    found
}

fn reserved_words(path: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let tests_begin = tests_begin(path, code);
    for reserved in RESERVED {
        let allowed = reserved
            .places
            .iter()
            .any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)));
        if allowed {
            continue;
        }
        for (index, line) in code.lines().enumerate() {
            let excused = reserved.word == IN_TESTS && index >= tests_begin;
            if has_word(line, reserved.word) && !excused {
                let Reserved { word, because, .. } = reserved;
                found.push(format!("{}: `{word}` is not named here: {because}", index + 1));
            }
        }
    }
    found
}

fn skipped_tests(code: &str) -> Vec<String> {
    let skipped = |line: &str| {
        let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        line.contains("#[ignore") || line.contains(",ignore)]")
    };
    let lines = code.lines().enumerate().filter(|(_, line)| skipped(line));
    lines.map(|(index, _)| format!("{}: a test is not skipped", index + 1)).collect()
}

fn undone(source: &str) -> Vec<String> {
    let lines = source.lines().enumerate();
    lines
        .filter(|(_, line)| UNDONE.iter().any(|word| has_word(line, word)))
        .map(|(index, _)| format!("{}: nothing is left undone", index + 1))
        .collect()
}

/// Threads wait for events. In tests that holds for async code too; elsewhere a timer on the
/// runtime is how one waits without holding a thread.
fn sleeps(path: &str, source: &str, code: &str) -> Vec<String> {
    let tests_begin = tests_begin(path, code);
    let mut found = Vec::new();
    let mut before = "";
    for (index, (line, raw)) in code.lines().zip(source.lines()).enumerate() {
        let blocks = line.contains("thread::sleep") || line.contains("sleep_ms(");
        let waits = line.contains("sleep(") || line.contains("sleep_until(");
        let wrong = blocks || (index >= tests_begin && waits);
        let excused = [before, raw].iter().any(|text| {
            text.split_once(SLEEP_MARKER).is_some_and(|(_, reason)| reason.trim().len() > 10)
        });
        if wrong && !excused {
            found.push(format!(
                "{}: wait for an event, not for the clock (or say `// {SLEEP_MARKER}..`)",
                index + 1
            ));
        }
        before = raw;
    }
    found
}

/// The index of the first line of tests; beyond every line if there are none.
fn tests_begin(path: &str, code: &str) -> usize {
    if is_test_file(path) {
        return 0;
    }
    code.lines().position(|line| line.contains("#[cfg(test)]")).unwrap_or(usize::MAX)
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || is_test_module(path)
}

/// Whether this is the test module of the file or folder that it is named after.
fn is_test_module(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

fn opening(source: &str) -> Option<String> {
    // A file opens by saying what it is for. Included bodies may open with an attribute.
    let first = source.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
    let documented = first.is_some_and(|line| line.starts_with("//!"));
    (!documented).then(|| "1: a file opens with a `//!` sentence of purpose".to_owned())
}

#[cfg(test)]
mod tests {
    use super::problems;

    fn found(path: &str, body: &str) -> String {
        problems(path, &format!("//! Purpose.\n{body}")).join("\n")
    }

    #[test]
    fn a_clean_file_has_no_problems() {
        assert_eq!(found("daemon/src/a.rs", "// rocksdb, unsafe\nfn a() {}\n"), "");
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let longest = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(68));
        assert_eq!(found("a/src/a.rs", &longest), "");
        let longer = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(69));
        assert_eq!(found("a/src/a.rs", &longer), "a/src/a.rs:2: fn a has 71 lines of at most 70");
        assert_eq!(found("a/src/a.rs", &"\n".repeat(499)), "");
        assert!(found("a/src/a.rs", &"\n".repeat(500)).contains("501: a file has at most"));
    }

    #[test]
    fn reserved_words_are_found_outside_their_places() {
        for (word, place) in [
            ("rocksdb", Some("daemon/store/src/rocks/mod.rs")),
            ("rocksdb", Some("tests/compare/src/rocks.rs")),
            ("bincode", Some("protocol/src/wire.rs")),
            ("spawn_blocking", Some("daemon/src/service/pool.rs")),
            ("unsafe", Some("daemon/src/systemd.rs")),
            ("unsafe", Some("tests/faults/src/calls.rs")),
            ("todo", None),
            ("unimplemented", None),
        ] {
            let body = format!("fn a() {{ {word}!() }}\n");
            let said = found("client/lib/src/a.rs", &body);
            assert!(said.contains(&format!("a.rs:2: `{word}` is not named here")), "{said}");
            if let Some(place) = place {
                assert_eq!(found(place, &body), "");
            }
        }
        let hop = "fn a() { spawn_blocking() }\n";
        assert_eq!(found("client/lib/src/a_tests.rs", hop), "");
        assert_eq!(
            found("client/lib/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {hop} }}\n")),
            ""
        );
    }

    #[test]
    fn skipped_tests_and_notes_of_undone_work_are_found() {
        assert!(found("a/src/a.rs", "#[ignore]\n").contains("a.rs:2: a test is not skipped"));
        assert!(found("a/src/a.rs", "#[ignore = \"slow\"]\n").contains("not skipped"));
        assert!(found("a/src/a.rs", "#[cfg_attr(x, ignore)]\n").contains("not skipped"));
        let note = concat!("// FIX", "ME: later\n");
        assert!(found("a/src/a.rs", note).contains("a.rs:2: nothing is left undone"));
    }

    #[test]
    fn sleeps_are_found_and_a_reason_excuses_them() {
        let sleep = "fn a() { std::thread::sleep(b) }\n";
        assert!(found("client/lib/src/a.rs", sleep).contains("a.rs:2: wait for an event"));
        let timer = "async fn a() { tokio::time::sleep(b).await }\n";
        assert_eq!(found("daemon/src/a.rs", timer), "");
        assert!(found("tests/integration/a.rs", timer).contains("a.rs:2: wait"));
        let in_tests = format!("#[cfg(test)]\nmod tests {{ {timer} }}\n");
        assert!(found("daemon/src/a.rs", &in_tests).contains("a.rs:3: wait"));
        let excused = "// tidy: sleeps because the kernel gives no event for it.\n";
        assert_eq!(found("client/lib/src/a.rs", &format!("{excused}{sleep}")), "");
        let bare = "// tidy: sleeps because\n";
        assert!(found("client/lib/src/a.rs", &format!("{bare}{sleep}")).contains("a.rs:3: wait"));
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        assert_eq!(problems("a/src/a.rs", "#![allow(x)]\n//! Purpose.\n"), [""; 0]);
        let said = problems("a/src/a.rs", "use a;\n");
        assert_eq!(problems("a/src/a_tests.rs", "use a;\n"), [""; 0]);
        assert_eq!(said, ["a/src/a.rs:1: a file opens with a `//!` sentence of purpose"]);
    }
}
