//! The outputs that `memo put` is given.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memod_client::{PutOutput, Source};
use memod_protocol::{Call, InvalidArgument, LiteralType};

use super::assignment::Assignment;
use super::{files, value, wrong};
use crate::exit::Failure;

/// An output with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    name: String,
    literal_type: LiteralType,
    value: Value,
}

/// Where an output's value is.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    /// On the command line.
    Inline(OsString),
    /// In this file; `-` is standard input.
    File(PathBuf),
}

impl Given {
    /// The output whose value is `VALUE`, `@FILE` or `@@..` for a plain `@..`.
    ///
    /// # Errors
    /// If the output is a file and the value no path of one.
    pub(super) fn new(
        name: &str,
        literal_type: LiteralType,
        value: OsString,
    ) -> Result<Self, Failure> {
        let value = match value.as_bytes().strip_prefix(b"@") {
            Some(b"") => return Err(wrong("output", &format!("`{name}` has no path behind `@`"))),
            Some(rest) if rest.starts_with(b"@") => Value::Inline(OsStr::from_bytes(rest).into()),
            Some(path) => Value::File(OsStr::from_bytes(path).into()),
            None => Value::Inline(value),
        };
        if literal_type == LiteralType::File && matches!(value, Value::Inline(_)) {
            let problem = format!("`{name}` is a file: write {name}:file=@PATH");
            return Err(wrong("output", &problem));
        }
        Ok(Self { name: name.to_owned(), literal_type, value })
    }

    /// Whether the value comes from standard input.
    pub(super) fn is_standard_input(&self) -> bool {
        self.value == Value::File("-".into())
    }

    /// The output as the client takes it. Content of a file, of bytes and of an opaque value is
    /// streamed; a string is held in memory, to see that it is one.
    ///
    /// # Errors
    /// If the value is not of the output's type, or its file cannot be read.
    pub(crate) fn into_put(self) -> Result<PutOutput, Failure> {
        let Self { name, literal_type, value } = self;
        let named = |error: InvalidArgument| {
            Failure::usage(format!("output `{name}` of type {literal_type}, {error}"))
        };
        let source = match value {
            Value::Inline(text) => {
                Source::Literal(value::typed(&literal_type, &text).map_err(named)?)
            }
            Value::File(path) => match literal_type {
                LiteralType::File | LiteralType::Bytes | LiteralType::Opaque(_) => stream(&path)?,
                LiteralType::String => Source::Bytes(Bytes::from(files::text(&path)?)),
                _ => {
                    let text = OsString::from(files::text(&path)?.trim());
                    Source::Literal(value::typed(&literal_type, &text).map_err(named)?)
                }
            },
        };
        Ok(PutOutput { name, literal_type, source })
    }
}

fn stream(path: &Path) -> Result<Source, Failure> {
    if path == Path::new("-") {
        return Ok(Source::Reader(Box::new(std::io::stdin())));
    }
    let cannot = |error| Failure::file("read the file", path, &error);
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(cannot(std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(Source::Sized(Box::new(file), metadata.len()))
}

/// The type of an output of a call that came as JSON. It may be repeated, not changed.
///
/// # Errors
/// If the call declares no such output, or another type for it.
pub(super) fn type_in_call(call: &Call, output: &Assignment) -> Result<LiteralType, Failure> {
    let name = &output.name;
    let Some(declared) = call.interface.outputs.get(name) else {
        return Err(wrong("output", &format!("the call of --call declares no output `{name}`")));
    };
    match &output.literal_type {
        Some(given) if given != declared => Err(wrong(
            "output",
            &format!("`{name}` is of type {declared} in the call of --call, not {given}"),
        )),
        _ => Ok(declared.clone()),
    }
}
