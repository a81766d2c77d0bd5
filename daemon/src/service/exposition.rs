//! Text in the `OpenMetrics` format, version 1.0.0, which Prometheus reads, and in the format that
//! Prometheus had before, which knows neither units nor texts that do not change.
//!
//! **Invariants.** Whatever a label's value holds, it stays inside its quotation marks. Numbers
//! are written without floats, so none is rounded.

use std::fmt::{Display, Write as _};

/// What a family of metrics is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, counted by how long they are.
    Histogram,
    /// Texts that do not change while the process lives.
    Info,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What stands behind the name of the family in each sample.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

/// The units of the names that end in one.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

/// A family whose samples are being written.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    page: &'a mut Exposition,
    name: &'static str,
    kind: Kind,
}

impl Exposition {
    /// Begins a family.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        self.line(format_args!("# TYPE {name} {}", kind.name()));
        let ends = |unit: &str| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'));
        if let Some(unit) = UNITS.into_iter().find(|unit| ends(unit)) {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
        Family { page: self, name, kind }
    }

    /// A family of one number.
    pub(crate) fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// How long the text is.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// The whole text.
    pub(crate) fn end(mut self) -> String {
        self.line(format_args!("# EOF"));
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a string can be written to");
        self.text.push('\n');
    }
}

impl Family<'_> {
    /// A number under these labels.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part(self.kind.suffix(), labels, value);
    }

    /// A number of a part of the family, such as `_sum`.
    pub(crate) fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut line = format!("{}{suffix}", self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            line.push(if index == 0 { '{' } else { ',' });
            line.push_str(label);
            line.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => line.push_str("\\\\"),
                    '"' => line.push_str("\\\""),
                    '\n' => line.push_str("\\n"),
                    other => line.push(other),
                }
            }
            line.push('"');
        }
        if !labels.is_empty() {
            line.push('}');
        }
        self.page.line(format_args!("{line} {value}"));
    }
}

/// A page of ours in the older format, 0.0.4: there a family has the name of its samples.
pub(crate) fn classic(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut suffix = "";
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let kinds = [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Info];
                let found = kinds.into_iter().find(|of| of.name() == kind);
                suffix = found.map_or("", Kind::suffix);
                let kind = if kind == Kind::Info.name() { Kind::Gauge.name() } else { kind };
                text.extend(["# TYPE ", name, suffix, " ", kind]);
            }
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                text.extend(["# HELP ", name, suffix, " ", help]);
            }
            (Some("#"), ..) => continue,
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_type_unit_help_and_samples() {
        let mut page = Exposition::default();
        page.one("memod_puts", Kind::Counter, "Puts.", 3);
        page.one("memod_age_seconds", Kind::Gauge, "Age.", seconds(1_500_000_000));
        let mut family = page.family("memod_build", Kind::Info, "Build.");
        family.sample(&[("version", "1\"\\\n# EOF"), ("b", "")], 1);
        assert_eq!(
            page.end(),
            "# TYPE memod_puts counter\n# HELP memod_puts Puts.\nmemod_puts_total 3\n\
             # TYPE memod_age_seconds gauge\n# UNIT memod_age_seconds seconds\n\
             # HELP memod_age_seconds Age.\nmemod_age_seconds 1.500000000\n\
             # TYPE memod_build info\n# HELP memod_build Build.\n\
             memod_build_info{version=\"1\\\"\\\\\\n# EOF\",b=\"\"} 1\n# EOF\n"
        );
    }

    #[test]
    fn the_older_format_has_other_heads() {
        let mut page = Exposition::default();
        page.one("memod_puts", Kind::Counter, "Puts.", 3);
        page.one("memod_age_seconds", Kind::Gauge, "Age.", seconds(1_500_000_000));
        page.family("memod_build", Kind::Info, "Build.").sample(&[("version", "# 1")], 1);
        assert_eq!(
            classic(&page.end()),
            "# TYPE memod_puts_total counter\n# HELP memod_puts_total Puts.\nmemod_puts_total 3\n\
             # TYPE memod_age_seconds gauge\n# HELP memod_age_seconds Age.\n\
             memod_age_seconds 1.500000000\n\
             # TYPE memod_build_info gauge\n# HELP memod_build_info Build.\n\
             memod_build_info{version=\"# 1\"} 1\n"
        );
    }
}
