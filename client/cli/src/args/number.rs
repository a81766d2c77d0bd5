//! Numbers on the command line: how many, and whose.

/// Reads a count.
///
/// # Errors
/// A sentence that says what is wanted.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| "a whole number is wanted, zero or more".to_owned())
}

/// Reads a user's number.
///
/// # Errors
/// A sentence that says what is wanted.
pub(crate) fn user(text: &str) -> Result<u32, String> {
    let wanted = || "a number is wanted, as `id -u NAME` prints it".to_owned();
    text.trim().parse().map_err(|_| wanted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_told_what_is_wanted() {
        assert_eq!((count("7"), user("0")), (Ok(7), Ok(0)));
        for text in ["-1", "", "1.5", "root", "99999999999999999999"] {
            assert!(count(text).expect_err(text).contains("number is wanted"));
            assert!(user(text).expect_err(text).contains("a number is wanted"));
        }
    }
}
