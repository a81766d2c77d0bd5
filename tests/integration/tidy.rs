//! The rules that neither Cargo nor clippy can hold: sizes, layers, reserved names, documents.
//!
//! **Invariants.** Every rule is a pure function in a module below, with a sample that breaks it,
//! so that no rule can pass because it looks at nothing.
//!
//! **Does not** build or run anything: it reads the working tree.

mod crates;
mod documents;
mod failpoints;
mod lexer;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold what was made, not what was written.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    ".venv",
    "corpus",
    "artifacts",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
];
/// Texts that are kept as others wrote them.
const FOREIGN: &[&str] = &["LICENSE-APACHE", "LICENSE-MIT", "Cargo.lock"];

struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every text file of the working tree.
fn files() -> Vec<File> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() && !FOREIGN.contains(&name.as_str()) {
                let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let bytes = fs::read(entry.path()).unwrap();
                if let Ok(text) = String::from_utf8(bytes) {
                    found.push(File { path, text });
                }
            }
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn with_extension<'a>(files: &'a [File], extension: &'a str) -> impl Iterator<Item = &'a File> {
    let has = move |file: &&File| Path::new(&file.path).extension().is_some_and(|e| e == extension);
    files.iter().filter(has)
}

#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn rust_files_keep_the_rules() {
    let files = files();
    assert!(with_extension(&files, "rs").count() > 30, "the walk finds the sources");
    let problems: Vec<String> = with_extension(&files, "rs")
        .flat_map(|file| source::problems(&file.path, &file.text))
        .collect();
    assert_none(&problems);
}

#[test]
fn each_failpoint_stands_in_the_code_once() {
    let files = files();
    let sources: Vec<&str> = with_extension(&files, "rs")
        .filter(|file| file.path.starts_with("daemon/"))
        .map(|file| file.text.as_str())
        .collect();
    let points: Vec<String> =
        memod_store::Failpoint::ALL.iter().map(|point| format!("{point:?}")).collect();
    assert_none(&failpoints::problems(&points, &sources));
}

#[test]
fn code_is_at_most_100_columns_wide() {
    let files = files();
    let scripts = files.iter().filter(|file| file.text.starts_with("#!"));
    let problems: Vec<String> = with_extension(&files, "rs")
        .chain(scripts)
        .flat_map(|file| documents::columns(&file.path, &file.text, source::COLUMNS_MAX))
        .collect();
    assert_none(&problems);
}

#[test]
fn python_files_are_short() {
    let files = files();
    let long =
        with_extension(&files, "py").filter(|f| f.text.lines().count() > source::FILE_LINES_MAX);
    assert_none(&long.map(|file| format!("{} is too long", file.path)).collect::<Vec<_>>());
}

#[test]
fn crates_point_down_and_share_lints() {
    let manifest = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let members = crates::members(&manifest("Cargo.toml"));
    assert!(members.len() >= 6, "the root manifest lists the crates: {members:?}");
    let problems: Vec<String> = members
        .iter()
        .map(|member| format!("{member}/Cargo.toml"))
        .flat_map(|path| crates::problems(&path, &manifest(&path)))
        .collect();
    assert_none(&problems);
}

#[test]
fn no_text_has_trailing_whitespace() {
    let problems: Vec<String> =
        files().iter().flat_map(|file| documents::whitespace(&file.path, &file.text)).collect();
    assert_none(&problems);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let problems: Vec<String> = with_extension(&files(), "md")
        .flat_map(|file| {
            let folder = root().join(&file.path).parent().unwrap().to_owned();
            documents::dead_links(&file.path, &file.text, |link| folder.join(link).exists())
        })
        .collect();
    assert_none(&problems);
}

#[test]
fn documented_commands_exist() {
    let files = files();
    let cli: Vec<&File> =
        files.iter().filter(|file| file.path.starts_with("client/cli/src/")).collect();
    let memo: Vec<String> = cli
        .iter()
        .filter_map(|file| file.path.strip_prefix("client/cli/src/commands/"))
        .filter_map(|path| path.split(['/', '.']).next())
        .filter(|name| *name != "mod")
        .map(str::to_owned)
        .collect();
    assert!(memo.len() > 8, "the commands are found: {memo:?}");
    let known = documents::Commands {
        makefile: &fs::read_to_string(root().join("Makefile")).unwrap(),
        memo: &memo,
        memo_source: &cli.iter().map(|file| file.text.as_str()).collect::<String>(),
    };
    let problems: Vec<String> = with_extension(&files, "md")
        .flat_map(|file| documents::unknown_commands(&file.path, &file.text, &known))
        .collect();
    assert_none(&problems);
}
