//! What may be a name: of a project, domain, task, cache version, input, output or owner.

use crate::error::InvalidArgument;
use crate::limits::NAME_BYTES_MAX;

/// Checks one name.
///
/// # Errors
/// If it is empty or longer than [`NAME_BYTES_MAX`] bytes; the error names `field`.
pub fn check(field: &str, name: &str) -> Result<(), InvalidArgument> {
    if name.is_empty() {
        return Err(InvalidArgument::new(field, "must not be empty"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidArgument::new(
            field,
            format!("is {} bytes long, {NAME_BYTES_MAX} are allowed", name.len()),
        ));
    }
    Ok(())
}

/// Checks the name of an owner (semantics 21 and 30).
///
/// # Errors
/// If it is empty, nothing but white space, or too long.
pub fn owner(given: &str) -> Result<(), InvalidArgument> {
    check("owner", given)?;
    if given.trim().is_empty() {
        return Err(InvalidArgument::new("owner", "must not be blank"));
    }
    Ok(())
}

/// Trims a cache version and checks it (semantics 7).
///
/// # Errors
/// If nothing but white space is given, or more than [`NAME_BYTES_MAX`] bytes.
pub fn cache_version(given: &str) -> Result<String, InvalidArgument> {
    trimmed_version(given).map(str::to_owned)
}

/// The same, where it stands.
pub(crate) fn trimmed_version(given: &str) -> Result<&str, InvalidArgument> {
    let trimmed = given.trim();
    if trimmed.is_empty() {
        return Err(InvalidArgument::new("cache_version", "must not be blank"));
    }
    check("cache_version", trimmed)?;
    Ok(trimmed)
}

/// A field's label for messages about the input or output of that name, shortened.
#[must_use]
pub fn label(kind: &str, name: &str) -> String {
    format!("{kind} `{}`", short(name))
}

/// A name for messages: escaped and shortened.
pub(crate) fn short(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    let dots = if short.len() < name.len() { ".." } else { "" };
    format!("{}{dots}", short.escape_debug())
}
