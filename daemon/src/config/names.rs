//! Names in the configuration: of settings that may have been meant, of users and of groups.

use nix::unistd::{Group, User};
use toml::Value;

use crate::grants::OVERFLOW_ID;

/// Names longer than this are not compared.
const COMPARED_CHARS_MAX: usize = 64;

/// Words on the known name that is nearest to one that is not known, or on all that there are.
pub(crate) fn meant(given: &str, known: &[&str]) -> String {
    let nearest =
        known.iter().map(|name| (distance(given, name), !name.starts_with(given), *name)).min();
    match nearest {
        Some((steps, _, name)) if steps <= 1 + name.len() / 4 => {
            format!("; did you mean `{name}`?")
        }
        _ => format!("; there are {}", known.join(", ")),
    }
}

/// How many letters have to be put in, taken out, replaced or swapped for their neighbours.
fn distance(one: &str, other: &str) -> usize {
    let letters = |text: &str| text.chars().take(COMPARED_CHARS_MAX).collect::<Vec<_>>();
    let (one, other) = (letters(one), letters(other));
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, (against, pair)) in other.iter().zip(above.windows(2)).enumerate() {
            let [diagonal, up] = *pair else { continue };
            let left = line.get(column).copied().unwrap_or(usize::MAX - 1);
            let replaced = diagonal + usize::from(letter != against);
            line.push(replaced.min(up + 1).min(left + 1));
        }
        above = line;
    }
    above.last().copied().unwrap_or(0)
}

/// The number of a user that is given by number or by name.
///
/// # Errors
/// If there is no user of that name, or the number may be anybody's.
pub(super) fn user(value: &Value) -> Result<u32, String> {
    id(value, "user", |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

/// The number of a group, likewise. Its members are not looked at, however many there are.
///
/// # Errors
/// As there.
pub(super) fn group(value: &Value) -> Result<u32, String> {
    id(value, "group", |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
}

fn id(
    value: &Value,
    kind: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    let found = match value {
        Value::Integer(number) => {
            u32::try_from(*number).map_err(|_| format!("{number} is no number of a {kind}"))?
        }
        Value::String(name) => match find(name) {
            Ok(Some(found)) => found,
            Ok(None) => {
                return Err(format!(
                    "there is no {kind} `{}`; one without a name is given by number",
                    name.escape_debug()
                ));
            }
            Err(error) => {
                return Err(format!("the {kind} `{}`: {error}", name.escape_debug()));
            }
        },
        other => {
            return Err(format!(
                "the name or number of a {kind} is wanted, not {}",
                other.type_str()
            ));
        }
    };
    if found == OVERFLOW_ID {
        return Err(format!(
            "{found} is whatever {kind} the daemon's user namespace does not know; name another"
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told() {
        let known = ["durability", "data", "log"];
        assert_eq!(meant("durabilty", &known), "; did you mean `durability`?");
        assert_eq!(meant("Data", &known), "; did you mean `data`?");
        assert_eq!(meant("elephants", &known), "; there are durability, data, log");
        assert_eq!(meant(&"x".repeat(100_000), &known), "; there are durability, data, log");
    }

    #[test]
    fn letters_are_counted() {
        for (one, other, wanted) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("a", "b", 1)]
        {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }

    #[test]
    fn users_and_groups_have_numbers_and_names() {
        assert_eq!(user(&Value::Integer(4_000_000)), Ok(4_000_000));
        assert_eq!(user(&Value::String("root".to_owned())), Ok(0));
        assert_eq!(group(&Value::String("root".to_owned())), Ok(0));
        for wrong in [
            Value::Integer(-1),
            Value::Integer(1 << 32),
            Value::Integer(65_534),
            Value::String("no such user".to_owned()),
            Value::Boolean(true),
        ] {
            user(&wrong).expect_err("no user");
        }
    }
}
