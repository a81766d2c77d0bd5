//! Samples, medians, ratios, and the table they end in.

use std::time::Duration;

use harness::{Daemon, resident_bytes};

/// How a row is to be compared.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// The row's time is at most this many times the reference's.
    AtMost(f64),
    /// The row's rate is at least this many times the reference's.
    AtLeast(f64),
    /// The row's median is at most this, in its unit.
    Under(f64),
    /// The row's median is at least this, in its unit.
    Over(f64),
    /// Only told.
    None,
}

/// A figure of several competitors: its name, its unit, and where its samples are.
pub(crate) type Figure<T> = (&'static str, &'static str, fn(&T) -> &Vec<f64>);

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<serde_json::Value>,
}

impl Report {
    /// Prints the head.
    pub(crate) fn begin() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("memod {} on {cores} cores; medians of one run", env!("CARGO_PKG_VERSION"));
        println!(
            "{:<44} {:>12} {:>12} {:>12} {:>8}  target",
            "work", "median", "10 %", "90 %", "ratio"
        );
        Self::default()
    }

    /// Prints a row. `samples` are in `unit`; `ratios` are the rounds' ratios to the reference.
    pub(crate) fn row(
        &mut self,
        work: &str,
        unit: &str,
        samples: &[f64],
        ratios: &[f64],
        target: Target,
    ) {
        let (median, low, high) =
            (quantile(samples, 0.5), quantile(samples, 0.1), quantile(samples, 0.9));
        let ratio = (!ratios.is_empty()).then(|| quantile(ratios, 0.5));
        let told = match (target, ratio) {
            (Target::AtMost(most), Some(ratio)) => told(ratio <= most, "<=", most),
            (Target::AtLeast(least), Some(ratio)) => told(ratio >= least, ">=", least),
            (Target::Under(most), _) => told(median <= most, "<=", most),
            (Target::Over(least), _) => told(median >= least, ">=", least),
            _ => String::new(),
        };
        let shown = ratio.map_or(String::from("1"), |ratio| format!("{ratio:.2}"));
        let show = |number: f64| format!("{number:.1} {unit}");
        println!(
            "{work:<44} {:>12} {:>12} {:>12} {shown:>8}  {told}",
            show(median),
            show(low),
            show(high)
        );
        self.rows.push(serde_json::json!({
            "work": work, "unit": unit, "median": median, "p10": low, "p90": high,
            "ratio": ratio, "target": told, "samples": samples.len(),
        }));
    }

    /// Writes the rows as JSON where `$MEMOD_BENCH_JSON` says.
    pub(crate) fn finish(self) {
        if let Some(path) = std::env::var_os("MEMOD_BENCH_JSON") {
            let text = serde_json::to_string_pretty(&self.rows).expect("plain values");
            std::fs::write(path, text).expect("the report is written");
        }
    }
}

fn told(met: bool, sign: &str, bound: f64) -> String {
    format!("{sign} {bound}  {}", if met { "met" } else { "NOT MET" })
}

/// The quantile of samples in any order.
pub(crate) fn quantile(samples: &[f64], at: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small index")]
    let index = (last as f64 * at).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Microseconds.
pub(crate) fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The ratios of two rows' rounds.
pub(crate) fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

/// Starts servers on one processor and leaves the client on another, if there are two: where the
/// scheduler happens to put them would otherwise decide more than what they do.
pub(crate) fn apart<T>(start_servers: impl FnOnce() -> T) -> T {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let this = nix::unistd::Pid::from_raw(0);
    let mine = sched_getaffinity(this).expect("the kernel says");
    let mut cpus = (0..CpuSet::count()).filter(|cpu| mine.is_set(*cpu).unwrap_or(false));
    let (Some(first), Some(second)) = (cpus.next(), cpus.next()) else { return start_servers() };
    let pin = |cpu| {
        let mut set = CpuSet::new();
        set.set(cpu).expect("a processor of this machine");
        sched_setaffinity(this, &set).expect("a process may choose among its own");
    };
    pin(second);
    let servers = start_servers();
    pin(first);
    servers
}

/// Gives this process all processors back.
pub(crate) fn anywhere() {
    use nix::sched::{CpuSet, sched_setaffinity};
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        all.set(cpu).expect("a processor");
    }
    let this = nix::unistd::Pid::from_raw(0);
    sched_setaffinity(this, &all).expect("a process may choose among its own");
}

/// The daemon's resident memory, in MiB.
pub(crate) fn resident(daemon: &Daemon) -> f64 {
    resident_bytes(daemon.pid()) as f64 / f64::from(1 << 20)
}
