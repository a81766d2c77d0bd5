//! Which of the two formats of metrics a request would rather have, by its `Accept` (RFC 9110,
//! section 12.5.1).
//!
//! **Invariants.** Of the ranges that match a format the most specific one counts, whatever the
//! others say. Where both are wanted as much, it is the one that is named more exactly, else the
//! newer one, which says more.
//!
//! **Does not** refuse: who wants neither is given the older format, which anybody can read.

/// A format of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `OpenMetrics`, version 1.0.0.
    OpenMetrics,
    /// The text that Prometheus had before, version 0.0.4.
    Classic,
}

impl Format {
    /// Type, subtype and version.
    const fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
            Self::Classic => ("text", "plain", "0.0.4"),
        }
    }
}

/// How much something is wanted: thousandths, 0 is not at all.
type Quality = u16;

/// Wanted as much as can be.
const WHOLLY: Quality = 1000;

/// What the head of a request wants; the newer format if it does not say.
pub(super) fn wanted(head: &[u8]) -> Format {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let accepted: Vec<&str> =
        head.lines().filter_map(|line| line.strip_prefix("accept:")).collect();
    if accepted.is_empty() {
        return Format::OpenMetrics;
    }
    let [newer, older] = [Format::OpenMetrics, Format::Classic].map(|of| quality(&accepted, of));
    if newer.0 > 0 && newer >= older { Format::OpenMetrics } else { Format::Classic }
}

/// How much these lines want a format, and how specific the range is that says so.
fn quality(accepted: &[&str], format: Format) -> (Quality, u8) {
    let ranges = accepted.iter().flat_map(|line| line.split(','));
    let matching = ranges.filter_map(|range| matched(range, format));
    // Of several that are as specific, whatever is wanted most.
    let (specific, quality) = matching.max().unwrap_or((0, 0));
    (quality, specific)
}

/// How specific a range is that matches a format, and how much it is wanted.
fn matched(range: &str, format: Format) -> Option<(u8, Quality)> {
    let mut parts = range.split(';').map(str::trim);
    let (of, sub) = parts.next()?.split_once('/')?;
    let (our_type, our_subtype, our_version) = format.parts();
    let mut specific = match (of, sub) {
        ("*", "*") => 0,
        (of, "*") if of == our_type => 1,
        (of, sub) if (of, sub) == (our_type, our_subtype) => 2,
        _ => return None,
    };
    let mut quality = WHOLLY;
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim() {
            "version" if value == our_version => specific = 3,
            "version" => return None,
            "q" => quality = thousandths(value),
            // Such as `charset` and `escaping`, which there is one of.
            _ => {}
        }
    }
    Some((specific, quality))
}

/// A quality as it is written, such as `0.75`; what is none counts as if it were not there.
fn thousandths(value: &str) -> Quality {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = format!("{fraction:0<3}");
    match (whole, digits.get(..3).map(str::parse::<Quality>)) {
        ("0" | "", Some(Ok(part))) => part,
        _ => WHOLLY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Format {
        wanted(format!("GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n\r\n").as_bytes())
    }

    #[test]
    fn who_does_not_say_or_takes_anything_gets_the_newer_format() {
        assert_eq!(wanted(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), Format::OpenMetrics);
        for accept in ["*/*", "application/*", "application/openmetrics-text", "*/*;q=0.1"] {
            assert_eq!(of(accept), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn prometheus_gets_what_it_would_rather_have() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(of(prometheus), Format::OpenMetrics);
        let textual = "text/plain;version=0.0.4;q=0.7, application/openmetrics-text;q=0.6";
        assert_eq!(of(textual), Format::Classic);
        assert_eq!(of("text/plain;version=0.0.4;q=1,*/*;q=0.1"), Format::Classic);
    }

    #[test]
    fn text_is_the_older_format() {
        for accept in [
            "text/plain",
            "text/*",
            "TEXT/*;q=0.2",
            "text/html, text/*;q=0.9, */*;q=0.1",
            "text/plain, */*;q=0.5",
            "text/plain, */*",
            "*/*, application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0, text/plain;q=0.1",
        ] {
            assert_eq!(of(accept), Format::Classic, "{accept}");
        }
    }

    #[test]
    fn who_wants_neither_gets_what_anybody_can_read() {
        for accept in ["text/html", "", "*/*;q=0", "application/json", ";;=,/"] {
            assert_eq!(of(accept), Format::Classic, "{accept:?}");
        }
    }

    #[test]
    fn several_lines_count_as_one() {
        let head = b"GET / HTTP/1.1\r\nAccept: text/html\r\naccept: text/plain\r\n\r\n";
        assert_eq!(wanted(head), Format::Classic);
        let head = b"GET / HTTP/1.1\r\nAccept: text/plain;q=0.1\r\nACCEPT: */*\r\n\r\n";
        assert_eq!(wanted(head), Format::OpenMetrics);
    }

    #[test]
    fn qualities_are_read_as_they_are_written() {
        let read = ["1", "1.0", "0", "0.5", "0.05", "0.123", "0.1239", ".5", "x", "0.x"];
        let wanted = [1000, 1000, 0, 500, 50, 123, 123, 500, 1000, 1000];
        assert_eq!(read.map(thousandths), wanted);
    }
}
