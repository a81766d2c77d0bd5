//! Whether two types have values in common, so that a value's type does not tell which one it is.
//!
//! **Invariants.** Errs on the side of yes.

use memod_protocol::{Literal, LiteralType};

/// Whether some literal may be of both types, such as the empty list of any two lists.
pub(super) fn meet(one: &LiteralType, other: &LiteralType) -> bool {
    match (one, other) {
        (LiteralType::Optional(inner), other) | (other, LiteralType::Optional(inner)) => {
            other.admits(&Literal::None) || meet(inner, other)
        }
        (LiteralType::Union(members), other) | (other, LiteralType::Union(members)) => {
            members.iter().any(|member| meet(member, other))
        }
        (LiteralType::List(_), LiteralType::List(_))
        | (LiteralType::Map(_), LiteralType::Map(_)) => true,
        (LiteralType::Struct(fields), LiteralType::Struct(others)) => {
            let mut pairs = fields.iter().zip(others);
            fields.len() == others.len()
                && pairs.all(|((name, of), (other, of_other))| name == other && meet(of, of_other))
        }
        (LiteralType::Enum(names), LiteralType::Enum(others)) => !names.is_disjoint(others),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn types_with_values_in_common() {
        for (one, other, expected) in [
            ("integer", "float", false),
            ("integer", "integer", true),
            ("list<integer>", "list<string>", true),
            ("list<integer>", "map<integer>", false),
            ("map<integer>", "map<string>", true),
            ("struct{a:integer}", "struct{a:optional<integer>}", true),
            ("struct{a:integer}", "struct{a:string}", false),
            ("struct{a:integer}", "struct{b:integer}", false),
            ("struct{a:integer}", "struct{a:integer,b:integer}", false),
            ("enum(a|b)", "enum(b|c)", true),
            ("enum(a|b)", "enum(c|d)", false),
            ("none", "optional<integer>", true),
            ("integer", "optional<integer>", true),
            ("string", "optional<integer>", false),
            ("union<integer|string>", "string", true),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(meet(&one, &other), expected, "{one} and {other}");
            assert_eq!(meet(&other, &one), expected, "{other} and {one}");
        }
    }
}
