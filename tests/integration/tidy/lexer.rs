//! As much of Rust's lexical structure as the tidy rules need: code without comments and literals.
//!
//! **Invariants.** Blanked text has the same lines and the same length in characters as the
//! source, so positions found in one hold in the other.
//!
//! **Does not** parse: what a macro makes of its tokens is not known here.

/// The source with comments, strings and character literals replaced by spaces.
pub(super) fn code_only(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    let mut blanked = String::with_capacity(source.len());
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        let length = non_code_length(rest, at.checked_sub(1).map(|before| characters[before]));
        if length == 0 {
            blanked.push(characters[at]);
            at += 1;
        } else {
            for character in &rest[..length] {
                blanked.push(if *character == '\n' { '\n' } else { ' ' });
            }
            at += length;
        }
    }
    blanked
}

/// How many characters at the start of `rest` are a comment or a literal; 0 if it is code.
fn non_code_length(rest: &[char], before: Option<char>) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment_length(rest),
        ['"', ..] => 1 + quoted_length(&rest[1..], '"'),
        ['r', ..] | ['b' | 'c', 'r', ..] if !before.is_some_and(is_word) => raw_string_length(rest),
        // A lifetime or label has no closing quote right behind its first character.
        ['\'', '\\', ..] => 1 + quoted_length(&rest[1..], '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Up to and with the closing quote, which a backslash may escape.
fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            character if character == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `r"..."`, `r#"..."#`, `br"..."` and the like; 0 if this is none.
fn raw_string_length(rest: &[char]) -> usize {
    let prefix = rest.iter().take_while(|c| c.is_ascii_lowercase()).count();
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let open = prefix + hashes;
    if prefix > 2 || rest.get(open) != Some(&'"') {
        return 0;
    }
    let mut closing = vec!['"'];
    closing.extend(std::iter::repeat_n('#', hashes));
    let body = &rest[open + 1..];
    body.windows(closing.len())
        .position(|window| window == closing)
        .map_or(rest.len(), |at| open + 1 + at + closing.len())
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether `line` of blanked code holds `word` as a whole identifier.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    word_positions(line, word).next().is_some()
}

/// The byte positions of `word` as a whole identifier.
fn word_positions<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[*at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Where `fn` stands, counted from 1.
    pub(super) line: usize,
    /// From `fn` to the closing brace, both included.
    pub(super) lines: usize,
}

/// Every function with a body in blanked code.
pub(super) fn functions(code: &str) -> Vec<Function> {
    word_positions(code, "fn").filter_map(|at| function_at(code, at)).collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let rest = &code[at + 2..];
    let name: String = rest.trim_start().chars().take_while(|c| is_word(*c)).collect();
    if name.is_empty() {
        return None; // A function pointer type, `fn(u8)`.
    }
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (offset, character) in rest.char_indices() {
        match character {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => curly += 1,
            '}' => curly -= 1,
            ';' if curly == 0 && round == 0 => return None,
            _ => {}
        }
        if character == '}' && curly == 0 && round == 0 {
            let line = 1 + code[..at].matches('\n').count();
            let lines = 1 + rest[..offset].matches('\n').count();
            return Some(Function { name, line, lines });
        }
    }
    None
}

#[test]
fn comments_and_literals_are_blanked_and_lines_stay() {
    let source = "a // rocksdb\n/* x /* y */ rocksdb */ b \"fn \\\" rocksdb\" 'x' '\\'' c\n";
    let code = code_only(source);
    assert_eq!(code.matches('\n').count(), 2);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(code.chars().count(), source.chars().count());
}

#[test]
fn raw_strings_lifetimes_and_labels_are_told_apart() {
    let source = "r#\"un\"safe\"# br\"{\" fn f<'a>(x: &'a str) { 'outer: loop {} } var\"s\"";
    let code = code_only(source);
    assert!(!code.contains("safe") && !code.contains('"'), "{code}");
    assert!(code.contains("<'a>(x: &'a str) { 'outer: loop {} } var"), "{code}");
}

#[test]
fn words_are_whole_identifiers() {
    assert!(has_word("use rocksdb::DB;", "rocksdb"));
    assert!(!has_word("use my_rocksdb::DB;", "rocksdb"));
    assert!(!has_word("rocksdb_path", "rocksdb"));
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let code =
        "fn a() {\n}\ntrait T { fn b(x: [u8; 3]);\n  fn c<F: Fn() -> u8>(f: F)\n  {\n  }\n}\n";
    let found: Vec<_> = functions(code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("a".to_owned(), 1, 2), ("c".to_owned(), 4, 3)]);
}
