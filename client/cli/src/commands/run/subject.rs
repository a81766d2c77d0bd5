//! The call that a command line is: what of it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memod_client::InputFile;
use memod_protocol::{Call, Digest, Interface, Literal, LiteralType, Scope};

use crate::args::RunArgs;
use crate::describe::input_file;
use crate::exit::Failure;

/// The output that holds what the command wrote to its standard output.
pub(super) const STDOUT: &str = "stdout";
/// The output that holds what the command wrote to its standard error.
pub(super) const STDERR: &str = "stderr";

/// The call, and the files that belong to it.
#[derive(Debug)]
pub(super) struct Subject {
    /// The call.
    pub(super) call: Call,
    /// The files that the command reads.
    pub(super) inputs: Vec<InputFile>,
    /// The files that the command writes.
    pub(super) outputs: Vec<OutputFile>,
}

/// A file that the command writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutputFile {
    /// Its path, as it is written.
    pub(super) path: PathBuf,
    /// The name of the output that holds its content.
    pub(super) content: String,
    /// The name of the output that holds its permissions.
    pub(super) mode: String,
}

impl Subject {
    /// The call that the flags describe in this process's environment.
    ///
    /// # Errors
    /// If an input cannot be read, or a name cannot be one.
    pub(super) fn new(args: &RunArgs, scope: &Scope) -> Result<Self, Failure> {
        Self::resolve(args, scope, |name| std::env::var_os(name))
    }

    fn resolve(
        args: &RunArgs,
        scope: &Scope,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let mut interface = Interface::default();
        let mut values = BTreeMap::new();
        let mut add = |name: String, of: LiteralType, value: Literal| {
            interface.inputs.insert(name.clone(), of);
            values.insert(name, value);
        };
        let text = || Box::new(LiteralType::String);
        let arguments = args.command.iter().map(|argument| text_or_hash(argument)).collect();
        add("argv".to_owned(), LiteralType::List(text()), Literal::List(arguments));
        for name in &args.variables {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(Failure::usage(format!("--env: `{name}` is no variable's name")));
            }
            let value = environment(name).map_or(Literal::None, |value| text_or_hash(&value));
            add(format!("env:{name}"), LiteralType::Optional(text()), value);
        }
        let mut inputs = Vec::new();
        for path in unique(&args.inputs) {
            let name = format!("file:{}", path_text("in", path)?);
            let file = input_file(path)?;
            let value = Literal::File { digest: file.digest, bytes: file.bytes };
            add(name, LiteralType::File, value);
            inputs.push(file);
        }
        let mut outputs = Vec::new();
        for path in unique(&args.outputs) {
            if args.inputs.contains(path) {
                let problem = format!("`{}` is both an input and an output", path.display());
                return Err(Failure::usage(problem)
                    .with_hint("a run that changes its own input cannot be remembered"));
            }
            let text = path_text("out", path)?;
            let (content, mode) = (format!("file:{text}"), format!("mode:{text}"));
            interface.outputs.insert(content.clone(), LiteralType::File);
            interface.outputs.insert(mode.clone(), LiteralType::Integer);
            outputs.push(OutputFile { path: path.clone(), content, mode });
        }
        for stream in [STDOUT, STDERR] {
            interface.outputs.insert(stream.to_owned(), LiteralType::Bytes);
        }
        let call = Call {
            scope: scope.clone(),
            task: task(args)?,
            cache_version: args.cache_version.clone(),
            interface,
            inputs: values,
            ignored: BTreeSet::new(),
        };
        call.identity()?;
        Ok(Self { call, inputs, outputs })
    }
}

/// The given task name, or the command's name without its directories.
fn task(args: &RunArgs) -> Result<String, Failure> {
    if let Some(given) = &args.task {
        return Ok(given.clone());
    }
    let command = args.command.first().map(Path::new);
    let name = command.and_then(|path| path.file_name().or(Some(path.as_os_str())));
    name.and_then(OsStr::to_str).filter(|name| !name.is_empty()).map(str::to_owned).ok_or_else(
        || Failure::usage("the command's name is no name for a task").with_hint("give --task"),
    )
}

/// A string, or, for text that is not UTF-8, a hash of its bytes, which no string equals.
fn text_or_hash(text: &OsStr) -> Literal {
    let hashed = || Literal::Hashed { hash: Digest::of(text.as_bytes()).to_string(), value: None };
    text.to_str().map_or_else(hashed, |text| Literal::String(text.to_owned()))
}

fn path_text<'a>(flag: &str, path: &'a Path) -> Result<&'a str, Failure> {
    path.to_str().filter(|text| !text.is_empty()).ok_or_else(|| {
        Failure::usage(format!("--{flag}: `{}` is empty or not UTF-8", path.display()))
    })
}

/// The paths, each once.
fn unique(paths: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    let mut seen = BTreeSet::new();
    paths.iter().filter(move |path| seen.insert(path.as_os_str()))
}

#[cfg(test)]
mod tests {
    use memod_protocol::Key;

    use super::*;

    fn args(command: &[&str]) -> RunArgs {
        RunArgs {
            cache_version: "1".into(),
            command: command.iter().map(OsString::from).collect(),
            ..RunArgs::default()
        }
    }

    fn subject(args: &RunArgs, environment: &[(&str, &str)]) -> Result<Subject, Failure> {
        Subject::resolve(args, &Scope::new("p", "d"), |name| {
            let found = environment.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn key(args: &RunArgs, environment: &[(&str, &str)]) -> Key {
        subject(args, environment).expect("valid").call.key().expect("valid")
    }

    #[test]
    fn the_task_is_the_commands_base_name() {
        assert_eq!(subject(&args(&["/usr/bin/cc", "-c"]), &[]).expect("valid").call.task, "cc");
        assert_eq!(subject(&args(&[".."]), &[]).expect("valid").call.task, "..");
        assert_eq!(subject(&args(&[""]), &[]).expect_err("nameless").exit, crate::exit::USAGE);
        let named = RunArgs { task: Some("compile".into()), ..args(&["cc"]) };
        assert_eq!(subject(&named, &[]).expect("valid").call.task, "compile");
    }

    #[test]
    fn every_argument_counts_and_where_it_ends() {
        let keys = [
            key(&args(&["echo", "a", "b"]), &[]),
            key(&args(&["echo", "a b"]), &[]),
            key(&args(&["echo", "b", "a"]), &[]),
            key(&args(&["/bin/echo", "a", "b"]), &[]),
            key(&args(&["echo", "a", "b", ""]), &[]),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn arguments_that_are_not_text_are_told_apart() {
        let with = |bytes: &[u8]| {
            let mut given = args(&["echo"]);
            given.command.push(OsStr::from_bytes(bytes).to_owned());
            key(&given, &[])
        };
        assert_ne!(with(b"\xff"), with(b"\xfe"));
        assert_eq!(with(b"\xff"), with(b"\xff"));
        let hash = Digest::of(b"\xff").to_string();
        assert_ne!(with(b"\xff"), with(hash.as_bytes()));
    }

    #[test]
    fn an_unset_variable_is_not_an_empty_one() {
        let given = RunArgs { variables: vec!["V".into()], ..args(&["env"]) };
        let keys = [
            key(&given, &[]),
            key(&given, &[("V", "")]),
            key(&given, &[("V", "x")]),
            key(&args(&["env"]), &[("V", "x")]),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        assert_eq!(key(&given, &[("V", "x"), ("W", "1")]), key(&given, &[("V", "x")]));
        let wrong = RunArgs { variables: vec!["A=B".into()], ..args(&["env"]) };
        assert!(subject(&wrong, &[]).expect_err("no name").message.contains("A=B"));
    }

    #[test]
    fn files_are_in_the_call_by_content_and_outputs_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("input");
        std::fs::write(&path, "one").expect("written");
        let given = RunArgs { inputs: vec![path.clone(), path.clone()], ..args(&["cat"]) };
        let first = key(&given, &[]);
        std::fs::write(&path, "two").expect("written");
        assert_ne!(key(&given, &[]), first);
        std::fs::write(&path, "one").expect("written");
        assert_eq!(key(&given, &[]), first);
        let writing = RunArgs { outputs: vec!["x".into()], ..given.clone() };
        assert_ne!(key(&writing, &[]), first);
        let both = RunArgs { outputs: vec![path.clone()], ..given.clone() };
        assert!(subject(&both, &[]).expect_err("both").message.contains("both"));
        std::fs::remove_file(&path).expect("removed");
        let failure = subject(&given, &[]).expect_err("it is gone");
        assert_eq!(failure.exit, crate::exit::USAGE);
        assert!(failure.message.contains("input"), "{failure}");
    }

    #[test]
    fn a_blank_version_is_refused() {
        let blank = RunArgs { cache_version: " ".into(), ..args(&["true"]) };
        assert!(subject(&blank, &[]).expect_err("blank").message.contains("cache_version"));
    }
}
