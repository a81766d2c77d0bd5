//! Policies on one shape of trace, the bound beside them, and the row that says so.

use std::fmt;

use memod_store::policy::PolicyKind;

use super::bound::least_spent_again;
use super::shapes::Shape;
use super::simulate::{Rule, spent_again};

/// Parts of the working set that a cache holds, in percent.
const SIZES_PERCENT: [u64; 3] = [1, 5, 20];
/// The columns after the bound.
const RULES: [(Rule, &str); 5] = [
    (Rule::Policy(PolicyKind::Lru), "lru"),
    (Rule::Policy(PolicyKind::Cost), "cost"),
    (Rule::Static, "static"),
    (Rule::Policy(PolicyKind::Lfu), "lfu"),
    (Rule::Policy(PolicyKind::Random), "random"),
];
/// Cost may spend so much of what lru does on heavy tails.
const HEAVY_RATIO_MAX: f64 = 0.6;
/// And so much on any trace.
const RATIO_MAX: f64 = 1.03;
/// Of what could have been saved; so much more counts as nothing.
const NOTHING: f64 = 0.001;

/// A shape in a cache of one size: means over the seeds.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    name: String,
    pub(crate) percent: u64,
    heavy: bool,
    /// Time of first requests, as a share of what could have been saved.
    first: f64,
    /// Shares of what could have been saved.
    bound: f64,
    spent: [f64; RULES.len()],
}

/// Plays a shape with some seeds on caches of all sizes.
pub(crate) fn compare(shape: &Shape, keys: usize, seeds: u64) -> Vec<Comparison> {
    let empty = |percent| Comparison {
        name: shape.name.clone(),
        percent,
        heavy: shape.heavy,
        first: 0.0,
        bound: 0.0,
        spent: [0.0; RULES.len()],
    };
    let mut comparisons: Vec<_> = SIZES_PERCENT.into_iter().map(empty).collect();
    for seed in 1..=seeds {
        let trace = shape.trace(keys, seed);
        let (first, later) = trace.compute_seconds();
        let working_set = trace.working_set();
        let whole = later * seeds as f64;
        for comparison in &mut comparisons {
            let bytes_max = working_set * comparison.percent / 100;
            comparison.first += first / whole;
            comparison.bound += least_spent_again(&trace, bytes_max) / whole;
            for (spent, (rule, _)) in comparison.spent.iter_mut().zip(RULES) {
                *spent += spent_again(&trace, bytes_max, rule, seed) / whole;
            }
        }
    }
    comparisons
}

impl Comparison {
    pub(crate) fn head() -> String {
        let columns: String = RULES.map(|(_, name)| format!("{name:>8}")).concat();
        format!("{:<30}{:>6}{:>8}{columns}{:>8}{:>7}", "trace", "cache", "bound", "ratio", "all")
    }

    fn lru(&self) -> f64 {
        self.spent[0]
    }

    fn cost(&self) -> f64 {
        self.spent[1]
    }

    /// Cost by lru; one if both are nothing.
    fn ratio(&self) -> f64 {
        if self.cost() <= 0.0 && self.lru() <= 0.0 { 1.0 } else { self.cost() / self.lru() }
    }

    /// What is wanted, and whether it is so.
    pub(crate) fn target(&self) -> (f64, bool) {
        let most = if self.heavy { HEAVY_RATIO_MAX } else { RATIO_MAX };
        let nothing = if self.heavy { 0.0 } else { NOTHING };
        (most, self.cost() <= self.lru() * most + nothing)
    }

    /// Whether no rule spends less than the bound, as must be.
    pub(crate) fn is_bounded(&self) -> bool {
        self.spent.iter().all(|spent| *spent >= self.bound - 1e-9)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<30}{:>4} %{:>8.2}", self.name, self.percent, 100.0 * self.bound)?;
        for spent in self.spent {
            write!(formatter, "{:>8.2}", 100.0 * spent)?;
        }
        let all = (self.cost() + self.first) / (self.lru() + self.first);
        let (most, met) = self.target();
        let met = if met { "met" } else { "NOT MET" };
        write!(formatter, "{:>8.3}{all:>7.3}  <= {most}  {met}", self.ratio())
    }
}

/// The last line: how many targets are met, and the geometric means of cost and static by lru.
pub(crate) fn summary<'a>(comparisons: impl Iterator<Item = &'a Comparison>) -> String {
    let (mut count, mut met, mut cost, mut fixed) = (0_u32, 0_u32, 0.0, 0.0);
    for comparison in comparisons {
        assert!(comparison.is_bounded(), "the bound is none: {comparison}");
        count += 1;
        met += u32::from(comparison.target().1);
        let by_lru = |spent: f64| ((spent + NOTHING) / (comparison.lru() + NOTHING)).ln();
        cost += by_lru(comparison.cost());
        fixed += by_lru(comparison.spent[2]);
    }
    let mean = |sum: f64| (sum / f64::from(count)).exp();
    format!(
        "{met} of {count} met; geometric means of ratios, a thousandth of what could have been \
         saved added to both sides: cost {:.2}, static {:.2}",
        mean(cost),
        mean(fixed)
    )
}
