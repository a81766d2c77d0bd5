//! Words of a command line that people are told to type.

use std::path::Path;

/// A path as one word of a shell's command line.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let shown = path.display().to_string();
    let is_plain =
        |character: char| character.is_alphanumeric() || "_./:=@%+,-".contains(character);
    if !shown.is_empty() && !shown.starts_with('-') && shown.chars().all(is_plain) {
        return shown;
    }
    format!("'{}'", shown.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_a_quoted_path_for_one_word() {
        for path in ["/var/lib/memod", "sp ace'q", "", "-x", "$HOME", "a\"b", "`id`", "ä;b"] {
            let ran = std::process::Command::new("sh")
                .args(["-c", &format!("printf '%s.' {}", quoted(Path::new(path)))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), format!("{path}."));
        }
        assert_eq!(quoted(Path::new("/var/lib/memod")), "/var/lib/memod");
    }
}
