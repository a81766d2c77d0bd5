//! Rules for texts: trailing whitespace, dead links, and commands that do not exist.
//!
//! **Does not** judge prose, and knows the file system only through the predicates it is given.

/// Lines that end in blanks, and a last line without an end.
pub(super) fn whitespace(path: &str, text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(index, _)| format!("{path}:{}: trailing whitespace", index + 1))
        .collect();
    if !text.is_empty() && !text.ends_with('\n') {
        found.push(format!("{path}: the last line has no end"));
    }
    found
}

/// Lines of code that are too wide. A row of a table in a doc comment cannot be wrapped.
pub(super) fn columns(path: &str, text: &str, columns_max: usize) -> Vec<String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.chars().count() > columns_max)
        .filter(|(_, line)| {
            !["//! |", "/// |"].iter().any(|row| line.trim_start().starts_with(row))
        })
        .map(|(index, line)| {
            let columns = line.chars().count();
            format!("{path}:{}: {columns} columns of at most {columns_max}", index + 1)
        })
        .collect()
}

/// Relative links of a Markdown text that lead nowhere.
pub(super) fn dead_links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !exists(target) {
                found.push(format!("{path}:{}: {target} does not exist", index + 1));
            }
        }
    }
    found
}

/// What the documents may tell their reader to type.
pub(super) struct Commands<'a> {
    pub(super) makefile: &'a str,
    /// The subcommands of `memo`.
    pub(super) memo: &'a [String],
    /// All sources of the command line, to look flags up in.
    pub(super) memo_source: &'a str,
}

/// Commands in fenced code and in inline code that do not exist.
pub(super) fn unknown_commands(path: &str, text: &str, known: &Commands) -> Vec<String> {
    let mut found = Vec::new();
    for (index, command) in commands(text) {
        if let Some(problem) = unknown_command(&command, known) {
            found.push(format!("{path}:{index}: `{command}`: {problem}"));
        }
    }
    found
}

fn unknown_command(command: &str, known: &Commands) -> Option<String> {
    let mut words = command.split_whitespace();
    match (words.next()?, words.next()) {
        ("make", Some(target)) if target.starts_with(char::is_alphabetic) => {
            let rule = format!("\n{target}:");
            (!known.makefile.contains(&rule)).then(|| "no such target".to_owned())
        }
        ("memo", Some(name)) if name.starts_with(char::is_alphabetic) => {
            if !known.memo.iter().any(|command| command == name) {
                return Some("no such subcommand".to_owned());
            }
            words
                .take_while(|word| *word != "--")
                .filter_map(|word| word.strip_prefix("--"))
                .map(|flag| flag.split(['=', ']', '[', ',']).next().unwrap_or_default())
                .find(|flag| !has_flag(known.memo_source, flag))
                .map(|flag| format!("no such option: --{flag}"))
        }
        _ => None,
    }
}

/// clap's derive names a flag after its field unless the attribute says otherwise.
fn has_flag(source: &str, flag: &str) -> bool {
    let field = flag.replace('-', "_");
    source.contains(&format!("{field}:")) || source.contains(&format!("\"{flag}\""))
}

/// The commands of a Markdown text with their line numbers. Lines that end in a backslash go on.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|c| (index + 1, c.to_owned())));
            continue;
        }
        let line = line.trim().trim_start_matches("$ ");
        let (number, mut command) = begun.take().unwrap_or((index + 1, String::new()));
        command.push_str(line.trim_end_matches('\\'));
        if line.ends_with('\\') {
            begun = Some((number, command));
        } else {
            found.push((number, command));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Commands, columns, dead_links, unknown_commands, whitespace};

    #[test]
    fn trailing_whitespace_and_a_missing_end_are_found() {
        assert!(whitespace("a", "b\n\nc\n").is_empty());
        assert_eq!(whitespace("a", "b \nc\t\n").len(), 2);
        assert_eq!(whitespace("a", "b\nc"), ["a: the last line has no end"]);
    }

    #[test]
    fn wide_lines_are_found() {
        assert!(columns("a", &"é".repeat(100), 100).is_empty());
        assert!(columns("a", &format!("//! | {} |\n", "é".repeat(101)), 100).is_empty());
        assert_eq!(columns("a", &"é".repeat(101), 100), ["a:1: 101 columns of at most 100"]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](a.md#part) [b](https://b)\n[c](c.md) [d](#part)\n";
        assert_eq!(dead_links("x", text, |path| path == "a.md"), ["x:2: c.md does not exist"]);
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let known = Commands {
            makefile: "help:\ntest:\n",
            memo: &["run".to_owned()],
            memo_source: "pub(crate) cache_version: String,",
        };
        let text = "`make test` `make tea` and `memo fly`\n```sh\n$ memo run \\\n  \
            --cache-version 1 --speed 3 -- make --love\nmemo run --cache-version 1\n```\n";
        assert_eq!(
            unknown_commands("x", text, &known),
            [
                "x:1: `make tea`: no such target",
                "x:1: `memo fly`: no such subcommand",
                "x:3: `memo run --cache-version 1 --speed 3 -- make --love`: \
                    no such option: --speed",
            ]
        );
    }
}
