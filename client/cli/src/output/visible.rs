//! Text that can be seen as it is, and everything else written out.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// The text with everything written out that commands a terminal, breaks a line, turns the
/// direction of what follows or cannot be seen.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_seen) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_seen(character) {
            safe.push(character);
        } else {
            safe.extend(character.escape_default());
        }
    }
    Cow::Owned(safe)
}

/// What takes no room or looks like a space though it is none: `Default_Ignorable_Code_Point` in
/// Unicode's `DerivedCoreProperties.txt`, and the Braille pattern without dots.
const BLANK: [RangeInclusive<char>; 18] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fff8}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Whether a character shows as itself: the standard library knows which those of Unicode are, but
/// for some that are [`BLANK`].
fn is_seen(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    if BLANK.iter().any(|range| range.contains(&character)) {
        return false;
    }
    // Behind another character, so that accents are left on it.
    let mut bytes = [b'a'; 5];
    let (_, rest) = bytes.split_at_mut(1);
    let bytes_long = 1 + character.encode_utf8(rest).len();
    let behind = bytes.get(..bytes_long).and_then(|bytes| std::str::from_utf8(bytes).ok());
    behind.is_some_and(|behind| behind.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(shown("plain ü 日本"), "plain ü 日本");
        assert_eq!(shown("a\x1b[31mb\tc\nd"), r"a\u{1b}[31mb\tc\nd");
    }

    #[test]
    fn what_turns_text_or_cannot_be_seen_is_written_out() {
        let hidden = "\u{202e}\u{2028}\u{2029}\u{2066}\u{200b}\u{200f}\u{feff}\u{ad}";
        for character in hidden.chars() {
            let written = format!("a\\u{{{:x}}}b", u32::from(character));
            assert_eq!(shown(&format!("a{character}b")), written);
        }
        for seen in ["cafe\u{301}", "\"quoted\" 'too' \\", "שלום", "Ωμέγα", "結果", "🦀"]
        {
            assert_eq!(shown(seen), seen);
        }
    }

    #[test]
    fn what_is_blank_is_written_out() {
        let blank = "\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}\u{2065}\u{206a}\u{2800}\
                     \u{3164}\u{fe00}\u{fe0f}\u{ffa0}\u{fff0}\u{e0001}\u{e0100}\u{e01ef}";
        for character in blank.chars() {
            let written = format!("a\\u{{{:x}}}b", u32::from(character));
            assert_eq!(shown(&format!("a{character}b")), written);
        }
    }
}
