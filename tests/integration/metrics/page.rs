//! A page in the `OpenMetrics` format, read as strictly as the format says.

use std::collections::{BTreeMap, BTreeSet};

/// A page that keeps the rules.
#[derive(Debug)]
pub(super) struct Page {
    /// Values by name and labels.
    samples: BTreeMap<String, String>,
}

/// What may stand behind a family's name, by its type.
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_count", "_sum"],
        "info" => &["_info"],
        other => panic!("no type: {other}"),
    }
}

/// The name in front of the labels, the labels, and the value.
fn split(line: &str) -> (&str, &str, &str) {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, rest) = line.split_at(end);
    let Some(inner) = rest.strip_prefix('{') else { return (name, "", &rest[1..]) };
    let (mut quoted, mut escaped) = (false, false);
    for (index, character) in inner.char_indices() {
        match character {
            _ if escaped => {
                assert!(matches!(character, '\\' | '"' | 'n'), "no escape: {line}");
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => {
                let value = inner[index + 1..].strip_prefix(' ').expect("a value");
                return (name, &inner[..index], value);
            }
            _ => {}
        }
    }
    panic!("labels without an end: {line}");
}

impl Page {
    /// Reads a page.
    #[track_caller]
    pub(super) fn parse(text: &str) -> Self {
        let text = text.strip_suffix("# EOF\n").expect("a page says where it ends");
        let mut families = BTreeSet::new();
        let mut samples = BTreeMap::new();
        let (mut family, mut kind) = ("", "");
        let (mut has_unit, mut last_bucket) = (false, None);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (what, name) = (words.next().unwrap(), words.next().unwrap());
                let value = words.next().expect("a value");
                if what == "TYPE" {
                    assert!(families.insert(name.to_owned()), "{name} stands there twice");
                    assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}");
                    (family, kind, has_unit) = (name, value, false);
                }
                assert_eq!(name, family, "{line}");
                match what {
                    "UNIT" => has_unit = name.ends_with(&format!("_{value}")),
                    "TYPE" => {}
                    "HELP" => assert!(value.ends_with('.'), "a help is a sentence: {line}"),
                    other => panic!("{other} is no description"),
                }
                let has_ending = name.ends_with("_seconds") || name.ends_with("_bytes");
                assert!(what != "HELP" || has_unit == has_ending, "{name} lacks its unit");
                continue;
            }
            let (name, labels, value) = split(line);
            let suffix = name.strip_prefix(family).expect("a sample stands in its family");
            assert!(suffixes(kind).contains(&suffix), "{name} is no part of a {kind}");
            let number: f64 = value.parse().expect("a number");
            assert!(number >= 0.0, "{line}");
            if let Some((of, bound)) = labels.split_once(",le=").filter(|_| suffix == "_bucket") {
                let growing = last_bucket.filter(|(before, _)| *before == of);
                assert!(growing.is_none_or(|(_, count)| count <= number), "{line} is less");
                last_bucket = (bound != "\"+Inf\"").then_some((of, number));
            }
            let whole = line[..line.len() - value.len()].trim_end().to_owned();
            assert!(samples.insert(whole, value.to_owned()).is_none(), "twice: {line}");
        }
        assert!(families.len() > 3, "{families:?}");
        Self { samples }
    }

    /// The value of a sample by its name and labels.
    pub(super) fn value(&self, sample: &str) -> Option<&str> {
        self.samples.get(sample).map(String::as_str)
    }

    /// The names and labels of all samples.
    pub(super) fn samples(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }
}

#[test]
#[should_panic(expected = "twice")]
fn a_page_with_a_sample_twice_is_refused() {
    let _ = Page::parse("# TYPE a gauge\n# HELP a A.\na 1\na 1\n# EOF\n");
}
