//! What `memo top` shows, as lines of text.
//!
//! **Invariants.** No line is wider than the terminal, and there are no more lines than it has.
//! Names are shown without their control characters. What the daemon does not tell this user is
//! "not told", never zero.

use std::time::Duration;

use memod_protocol::{BudgetOf, TaskStats};

use super::sample::{History, Lease, Sample};
use crate::output::{NOT_TOLD, shown, units};

/// The heights of a sparkline's bars.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Leases that are shown, of which the most wait.
const LEASES_MAX: usize = 4;
/// Tasks in a frame that is printed as text.
pub(super) const TEXT_ROWS: usize = 24;
/// Columns of a frame that is printed as text.
pub(super) const TEXT_COLUMNS: usize = 80;

/// How much there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The lines of a frame. `trouble`: why the daemon does not answer now.
pub(super) fn lines(history: &History, trouble: Option<&str>, size: Size) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(sample) = history.last() {
        lines.extend(head(history, sample));
        lines.extend(leases(&sample.leases));
        lines.push(String::new());
        let room = size.rows.saturating_sub(lines.len() + 2);
        lines.extend(tasks(&sample.stats.by_task, size.columns, room));
    }
    if let Some(trouble) = trouble {
        lines.insert(0, format!("no answer: {}", shown(trouble)));
    }
    lines.truncate(size.rows);
    lines.into_iter().map(|line| fitted(&line, size.columns)).collect()
}

/// The line as far as it fits.
fn fitted(line: &str, columns: usize) -> String {
    line.trim_end().chars().take(columns).collect()
}

fn head(history: &History, sample: &Sample) -> Vec<String> {
    let (stats, budgets) = (&sample.stats, &sample.budgets);
    let time = |ns: u64| units::duration(Duration::from_nanos(ns));
    let now = history.now();
    let rate = |of: Option<f64>| of.map_or_else(|| "-".to_owned(), |of| format!("{of:.1}/s"));
    let percent = now.and_then(|now| now.hit_rate());
    let percent = percent.map_or_else(|| "-".to_owned(), |of| format!("{:.1} %", of * 100.0));
    let latency = |of| history.percentile(of).map_or_else(|| "-".to_owned(), units::duration);
    let budget = budgets.budgets.iter().find(|row| row.of == BudgetOf::Store);
    let limit = budget.and_then(|row| row.limit_bytes);
    let limit = limit.map_or_else(String::new, |most| format!(" of {}", units::bytes(most)));
    let [first, stored, evicted] = if let Some(whole) = &stats.whole {
        let used = budget.map_or(whole.stored_bytes, |row| row.bytes);
        [
            format!(
                "{} connections   {} leases   {} waiting",
                whole.connections, whole.leases, whole.waiters
            ),
            format!(
                "{:>10}{limit}   {} entries   {} puts",
                units::bytes(used),
                whole.entries,
                rate(now.map(|now| now.puts))
            ),
            format!(
                "{:>10}  {} in all   {} asked for again, {} to compute",
                rate(now.map(|now| now.evicted)),
                whole.evicted_entries,
                budgets.regretted_entries,
                time(budgets.regret_ns)
            ),
        ]
    } else {
        ["of what you may read: the rest is not told".to_owned(), untold(), untold()]
    };
    vec![
        format!("memod   up {}   {first}", time(stats.uptime_ns)),
        format!(
            "hit rate  {percent:>10}  {}",
            sparkline(&history.each(|of| of.hit_rate().unwrap_or(0.0)), Some(1.0))
        ),
        format!(
            "lookups   {:>10}  {}  p50 {}  p99 {}",
            rate(now.map(|now| now.lookups())),
            sparkline(&history.each(super::sample::Rates::lookups), None),
            latency(50),
            latency(99)
        ),
        format!(
            "saved     {:>10}  {}  {} in all",
            now.map_or_else(|| "-".to_owned(), |now| format!("{:.2}s/s", now.saved)),
            sparkline(&history.each(|of| of.saved), None),
            time(stats.time_saved_ns)
        ),
        format!("stored    {stored}"),
        format!("evicted   {evicted}"),
    ]
}

/// In the place of numbers.
fn untold() -> String {
    format!("{NOT_TOLD:>10}")
}

/// Who holds the leases for which the most wait.
fn leases(held: &[Lease]) -> impl Iterator<Item = String> {
    let more = held.len().saturating_sub(LEASES_MAX);
    let more = (more > 0).then(|| format!("{:>10}{more} leases more", ""));
    held.iter().take(LEASES_MAX).map(lease).chain(more)
}

/// Who holds a lease and since when, how many wait for it, and of which task it is.
fn lease(Lease { row, user }: &Lease) -> String {
    let (holder, user) = (&row.holder, shown(user));
    let who = match (&holder.name, holder.pid, &holder.program) {
        (Some(name), ..) => format!("`{}` of {user}", shown(name)),
        (None, Some(pid), Some(program)) => format!("{} {pid} of {user}", shown(program)),
        (None, Some(pid), None) => format!("process {pid} of {user}"),
        (None, None, _) => format!("a process of {user}"),
    };
    let held = units::rough(Duration::from_millis(holder.held_ms));
    let (project, domain) = (shown(&row.scope.project), shown(&row.scope.domain));
    let (waiters, task) = (row.waiters, shown(&row.task));
    format!("leased to  {who} for {held}, {waiters} waiting: {project}/{domain} {task}")
}

/// A bar for each value; the highest stands for `most`, or for the largest of them.
fn sparkline(values: &[f64], most: Option<f64>) -> String {
    let largest = values.iter().copied().fold(0.0, f64::max);
    let most = most.unwrap_or(largest);
    let steps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    let bar = |value: &f64| {
        let height = if most > 0.0 { value / most * 7.0 } else { 0.0 };
        let index = steps.iter().filter(|step| height >= **step).count();
        BARS.get(index).copied().unwrap_or('█')
    };
    values.iter().map(bar).collect()
}

/// The tasks that saved the most, under a header; nothing if there are none.
fn tasks(tasks: &[TaskStats], columns: usize, room: usize) -> Vec<String> {
    if tasks.is_empty() || room < 2 {
        return Vec::new();
    }
    // The numbers take 42 columns; the names get what is left.
    let width = columns.saturating_sub(42).max(10);
    let row = |name: &str, rest: [&str; 4]| {
        let name: String = name.chars().take(width).collect();
        let [hits, misses, rate, saved] = rest;
        format!("{name:<width$} {hits:>10} {misses:>9} {rate:>8} {saved:>10}")
    };
    let mut lines = vec![row("TASK", ["HITS", "MISSES", "RATE", "SAVED"])];
    for of in tasks.iter().take(room - 1) {
        let name = format!("{}/{} {}", of.scope.project, of.scope.domain, of.task);
        let all = u128::from(of.hits) + u128::from(of.misses);
        let permille = (u128::from(of.hits) * 1000).checked_div(all);
        let rate = permille.map_or_else(
            || "-".to_owned(),
            |permille| format!("{}.{} %", permille / 10, permille % 10),
        );
        let saved = units::duration(Duration::from_nanos(of.time_saved_ns));
        let (hits, misses) = (of.hits.to_string(), of.misses.to_string());
        lines.push(row(&shown(&name), [&hits, &misses, &rate, &saved]));
    }
    lines
}

#[cfg(test)]
mod tests {
    use memod_client::Stats;
    use memod_protocol::{Holder, Key, LeaseRow, Scope};

    use super::*;

    fn history() -> History {
        let mut history = History::default();
        for second in 0..40_u64 {
            let task = |number: u64| TaskStats {
                scope: Scope::new("project", "development"),
                task: format!("task {number} \u{1b}[31m of a long name that does not fit at all"),
                hits: u64::MAX / 2,
                misses: 3,
                time_saved_ns: u64::MAX,
            };
            let stats = Stats {
                hits: second * second,
                misses: second,
                uptime_ns: u64::MAX,
                by_task: (0..100).map(task).collect(),
                ..Stats::default()
            };
            let at = Duration::from_secs(second);
            history.add(Sample { at, stats, ..Sample::default() });
        }
        history
    }

    #[test]
    fn a_frame_fits_into_any_terminal() {
        let history = history();
        for (columns, rows) in [(80, 24), (40, 10), (200, 60), (10, 3), (1, 1), (0, 0)] {
            let lines = lines(&history, Some("gone"), Size { columns, rows });
            assert!(lines.len() <= rows, "{rows}: {lines:?}");
            for line in &lines {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
                assert!(!line.contains('\u{1b}'), "{line:?}");
            }
        }
        let whole = lines(&history, None, Size { columns: 80, rows: 24 });
        assert!(whole[1].contains("hit rate") && whole[1].contains('%'), "{whole:?}");
        assert!(whole.iter().any(|line| line.starts_with("TASK")), "{whole:?}");
        assert!(whole.iter().any(|line| line.contains("99.9 %")), "{whole:?}");
    }

    #[test]
    fn leases_are_told_with_who_holds_them_and_how_many_wait() {
        let held = |name: Option<&str>, pid, waiters| Lease {
            row: LeaseRow {
                key: Key::from_bytes([1; 32]),
                scope: Scope::new("p", "d"),
                task: "t\u{1b}[2J".into(),
                holder: Holder {
                    name: name.map(str::to_owned),
                    uid: 7,
                    pid,
                    program: Some("make\n".into()),
                    held_ms: 3200,
                    expires_in_ms: None,
                },
                waiters,
            },
            user: "alice".into(),
        };
        let all = [held(None, Some(42), 3), held(Some("nightly"), None, 0), held(None, None, 0)];
        let told: Vec<String> = leases(&all).collect();
        let wanted = [
            r"leased to  make\n 42 of alice for 3 s, 3 waiting: p/d t\u{1b}[2J",
            r"leased to  `nightly` of alice for 3 s, 0 waiting: p/d t\u{1b}[2J",
            r"leased to  a process of alice for 3 s, 0 waiting: p/d t\u{1b}[2J",
        ];
        assert_eq!(told, wanted);
        let many: Vec<Lease> = (0..7).map(|_| held(None, Some(1), 0)).collect();
        let told: Vec<String> = leases(&many).collect();
        assert_eq!((told.len(), told[4].as_str()), (5, "          3 leases more"));
        assert_eq!(leases(&[]).count(), 0);
    }

    #[test]
    fn bars_are_as_high_as_values() {
        assert_eq!(sparkline(&[0.0, 0.5, 1.0], Some(1.0)), "▁▄█");
        assert_eq!(sparkline(&[1.0, 7.0], None), "▂█");
        assert_eq!(sparkline(&[0.0, 0.0], None), "▁▁");
    }
}
