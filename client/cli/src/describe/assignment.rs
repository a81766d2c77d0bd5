//! `NAME[:TYPE][=VALUE]`, as `--input`, `--input-hash` and `--output` take it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use memod_protocol::LiteralType;

/// The parts of `NAME[:TYPE][=VALUE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// What stands before the first `:` or `=`.
    pub(super) name: String,
    /// The type, if one is given.
    pub(super) literal_type: Option<LiteralType>,
    /// What stands behind `=`, which need not be text.
    pub(super) value: Option<OsString>,
}

impl Assignment {
    /// Takes an argument apart. The type may itself hold `:` and `=`, inside brackets or quotes.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn parse(argument: &OsStr) -> Result<Self, String> {
        let bytes = argument.as_bytes();
        let name_ends = bytes.iter().position(|byte| matches!(byte, b':' | b'='));
        let (name, rest) = bytes.split_at(name_ends.unwrap_or(bytes.len()));
        let name = std::str::from_utf8(name).map_err(|_| "the name is not UTF-8".to_owned())?;
        if name.is_empty() {
            let shown = argument.to_string_lossy();
            return Err(format!("`{shown}` begins without a name: NAME[:TYPE]=VALUE"));
        }
        let (type_text, value) = match rest.split_first() {
            Some((b':', rest)) => {
                let (type_text, value) = split_type(rest);
                (Some(type_text), value)
            }
            Some((_, value)) => (None, Some(value)),
            None => (None, None),
        };
        let literal_type = type_text.map(|text| parse_type(name, text)).transpose()?;
        let value = value.map(|bytes| OsStr::from_bytes(bytes).to_owned());
        Ok(Self { name: name.to_owned(), literal_type, value })
    }

    /// Takes `NAME=PATH` apart.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn path(argument: &OsStr) -> Result<(String, PathBuf), String> {
        let bytes = argument.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=');
        let parts = equals.and_then(|at| bytes.split_at_checked(at));
        match parts {
            Some((name, path)) if !name.is_empty() && path.len() > 1 => {
                let name = String::from_utf8(name.to_vec())
                    .map_err(|_| "the name is not UTF-8".to_owned())?;
                let path = path.strip_prefix(b"=").unwrap_or_default();
                Ok((name, PathBuf::from(OsStr::from_bytes(path))))
            }
            _ => Err(format!("`{}` is not NAME=PATH", argument.to_string_lossy())),
        }
    }
}

fn parse_type(name: &str, text: &[u8]) -> Result<LiteralType, String> {
    let text =
        std::str::from_utf8(text).map_err(|_| format!("the type of `{name}` is not UTF-8"))?;
    text.parse().map_err(|error| format!("`{name}`, {error}"))
}

/// Splits `TYPE[=VALUE]` at the first `=` outside brackets and quotes.
fn split_type(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut depth = 0_usize;
    let mut quoted = false;
    let mut escaped = false;
    let value_begins = text.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'<' | b'{' | b'(' => depth += 1,
            b'>' | b'}' | b')' => depth = depth.saturating_sub(1),
            b'=' => return depth == 0,
            _ => {}
        }
        false
    });
    match value_begins.and_then(|at| text.split_at_checked(at)) {
        Some((before, after)) => (before, after.strip_prefix(b"=")),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (String, Option<String>, Option<String>);

    fn parse(text: &str) -> Parts {
        let parsed = Assignment::parse(OsStr::new(text)).expect(text);
        let value = parsed.value.map(|value| value.into_string().expect("it was text"));
        (parsed.name, parsed.literal_type.map(|of| of.to_string()), value)
    }

    fn parts(name: &str, of: Option<&str>, value: Option<&str>) -> Parts {
        (name.to_owned(), of.map(str::to_owned), value.map(str::to_owned))
    }

    #[test]
    fn the_first_colon_or_equals_ends_the_name() {
        assert_eq!(parse("a=1"), parts("a", None, Some("1")));
        assert_eq!(parse("a=b:c=d"), parts("a", None, Some("b:c=d")));
        assert_eq!(parse("a:string=x=y"), parts("a", Some("string"), Some("x=y")));
        assert_eq!(parse("a:string="), parts("a", Some("string"), Some("")));
        assert_eq!(parse("a:string"), parts("a", Some("string"), None));
        assert_eq!(parse("a="), parts("a", None, Some("")));
        assert_eq!(parse("a"), parts("a", None, None));
        assert_eq!(parse("a=-1"), parts("a", None, Some("-1")));
        assert_eq!(parse("-a=1"), parts("-a", None, Some("1")));
    }

    #[test]
    fn a_type_may_hold_colons_and_equals() {
        assert_eq!(
            parse(r#"p:struct{x:integer,y:list<float>}={"x":1,"y":[]}"#),
            parts("p", Some("struct{x:integer,y:list<float>}"), Some(r#"{"x":1,"y":[]}"#))
        );
        assert_eq!(
            parse(r#"p:struct{"a=b":string}={"a=b":"c"}"#),
            parts("p", Some(r#"struct{"a=b":string}"#), Some(r#"{"a=b":"c"}"#))
        );
        assert_eq!(
            parse(r#"p:enum("a\"=}"|b)=b"#),
            parts("p", Some(r#"enum("a\"=}"|b)"#), Some("b"))
        );
        assert_eq!(
            parse(r#"p:opaque("text/x; q=1")=eA=="#),
            parts("p", Some(r#"opaque("text/x; q=1")"#), Some("eA=="))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("=1", "without a name"),
            (":string=1", "without a name"),
            ("", "without a name"),
            ("a:strin=1", "`a`, type"),
            ("a:list<integer=1", "`a`, type"),
            ("a:=1", "`a`, type"),
        ] {
            let problem = Assignment::parse(OsStr::new(text)).expect_err(text);
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }

    #[test]
    fn paths() {
        let parsed = Assignment::path(OsStr::new("f:x=./a=b")).expect("well formed");
        assert_eq!(parsed, ("f:x".to_owned(), PathBuf::from("./a=b")));
        for text in ["f", "=x", "f=", ""] {
            assert!(Assignment::path(OsStr::new(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn values_need_not_be_text() {
        let parsed = Assignment::parse(OsStr::from_bytes(b"b:bytes=\xff=\xfe")).expect("bytes");
        assert_eq!(parsed.value.as_deref(), Some(OsStr::from_bytes(b"\xff=\xfe")));
    }
}
