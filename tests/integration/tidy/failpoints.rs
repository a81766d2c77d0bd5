//! A rule for failpoints: each that has a name stands at one place, and so can be reached.
//!
//! **Does not** know whether a place is ever reached: the torture tells.

use super::lexer::code_only;

/// The failpoints that do not stand at exactly one place in these sources.
pub(super) fn problems(points: &[String], sources: &[&str]) -> Vec<String> {
    let code: Vec<String> = sources.iter().map(|source| code_only(source)).collect();
    let count = |point: &String| {
        let call = format!("reach(Failpoint::{point})");
        code.iter().map(|code| code.matches(&call).count()).sum()
    };
    points
        .iter()
        .map(|point| (point, count(point)))
        .filter(|(_, places): &(_, usize)| *places != 1)
        .map(|(point, places)| format!("the failpoint {point} stands at {places} places, not one"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::problems;

    #[test]
    fn a_failpoint_that_stands_nowhere_or_twice_is_found() {
        let points = ["Once", "Twice", "Nowhere"].map(str::to_owned);
        let sources = [
            "fn a() { reach(Failpoint::Once); reach(Failpoint::Twice) }",
            "fn b() { reach(Failpoint::Twice) } // reach(Failpoint::Nowhere)",
        ];
        assert_eq!(
            problems(&points, &sources),
            [
                "the failpoint Twice stands at 2 places, not one",
                "the failpoint Nowhere stands at 0 places, not one",
            ]
        );
    }
}
