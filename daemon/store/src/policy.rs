//! Eviction policies: which of a few sampled entries is worth least.
//!
//! Nothing is kept in order and no index is needed: the store draws a few dozen entries at random,
//! asks [`PolicyKind::value`] for each, and evicts the one with the lowest. What a store must keep:
//!
//! - with each entry: when it was last used, and how many hits it had. When it was created, what
//!   it cost and how large it is are known anyway. Times may be seconds old and hits may be lost in
//!   a crash: values shift a little, nothing breaks.
//! - with the grave of an evicted entry: the same two. If the key is put again, its hits go on from
//!   there. Two graves for each entry are enough; with none at all `cost` spends a quarter more.
//! - one [`Reuse`], told of every put, hit and eviction, whatever the policy, so that `cost` knows
//!   them when it is chosen later; and a note of some 14 kB if that is to survive.
//!
//! **Invariants.** A value is finite and a function of its arguments alone: no clock, no
//! randomness, no I/O. An age from a clock that was set back is zero.
//!
//! **Does not** sample, evict, or know what a store is.

mod reuse;
mod worth;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use reuse::Reuse;
pub use worth::{COST_MIN, COST_UNKNOWN, ENTRY_BYTES, Worth};

/// What a policy may know of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Candidate {
    /// How long its outputs took to compute, if that is known.
    pub cost: Option<Duration>,
    /// The bytes that its eviction gives back: not those which other entries refer to as well.
    pub bytes: u64,
    /// How long ago it was put or last hit, whichever is later.
    pub age: Duration,
    /// How long ago it was put.
    pub life: Duration,
    /// Hits so far, those before an earlier eviction included.
    pub hits: u32,
    /// A random number, drawn with the sample.
    pub lot: u64,
}

/// An eviction policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PolicyKind {
    /// Evicts where the least compute time is lost: [`Worth`] (compute time per byte) times the
    /// density of uses that [`Reuse`] has learned.
    ///
    /// Value = cost / bytes x uses to come per second. Cost over size is that of `GreedyDual-Size`
    /// (Cao and Irani, USENIX 1997), with frequency that of GDSF (Cherkasova, HP Labs 1998), and
    /// as a rate that of hyperbolic caching (Blankstein, Sen and Freedman, USENIX ATC 2017: cost x
    /// frequency / (size x time in the cache)). The rate is not hits over time, which takes long to
    /// see that something is no longer used; it is learned from the ages at which entries are
    /// used, as in LHD (Beckmann, Chen and Cidon, NSDI 2018).
    #[default]
    Cost,
    /// Evicts what has not been used for longest: value = -age.
    Lru,
    /// Evicts what is used least often: value = (hits + 1) / time since it was put, so that old
    /// fame fades.
    Lfu,
    /// Evicts at random: value = lot.
    Random,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cost, Self::Lru, Self::Lfu, Self::Random];

    /// What a candidate is worth. The lowest goes.
    #[must_use]
    pub fn value(self, candidate: &Candidate, reuse: &Reuse) -> f64 {
        match self {
            Self::Cost => {
                let worth = Worth::new(candidate.cost, candidate.bytes);
                worth.per_byte() * reuse.density(candidate.hits, candidate.age, worth)
            }
            Self::Lru => -candidate.age.as_secs_f64(),
            Self::Lfu => {
                (f64::from(candidate.hits) + 1.0) / (candidate.life.as_secs_f64() + LIFE_SECONDS)
            }
            Self::Random => worth::float(candidate.lot),
        }
    }

    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Random => "random",
        }
    }
}

/// Added to a life, so that what was put just now has no infinite frequency.
const LIFE_SECONDS: f64 = 1.0;

impl fmt::Display for PolicyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// There is no policy of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no eviction policy is called {0:?}: there are cost, lru, lfu and random")]
pub struct UnknownPolicy(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An entry like any other.
    fn plain() -> Candidate {
        Candidate {
            cost: Some(SECOND),
            bytes: 10_000,
            age: 60 * SECOND,
            life: 600 * SECOND,
            hits: 3,
            lot: 7,
        }
    }

    #[track_caller]
    fn lower(kind: PolicyKind, lower: Candidate, higher: Candidate) {
        let reuse = Reuse::default();
        let (lower, higher) = (kind.value(&lower, &reuse), kind.value(&higher, &reuse));
        assert!(lower < higher, "{kind}: {lower} < {higher}");
    }

    #[test]
    fn cost_keeps_what_is_dear_small_and_lately_used() {
        let kind = PolicyKind::Cost;
        lower(kind, plain(), Candidate { cost: Some(2 * SECOND), ..plain() });
        lower(kind, Candidate { bytes: 20_000, ..plain() }, plain());
        lower(kind, Candidate { age: 120 * SECOND, ..plain() }, plain());
    }

    #[test]
    fn cost_takes_an_unknown_cost_for_the_stated_one() {
        let value = |cost| PolicyKind::Cost.value(&Candidate { cost, ..plain() }, &Reuse::new());
        assert_eq!(value(None).to_bits(), value(Some(COST_UNKNOWN)).to_bits());
        assert_eq!(value(Some(Duration::ZERO)).to_bits(), value(Some(COST_MIN)).to_bits());
    }

    #[test]
    fn lru_looks_at_the_age_alone() {
        let kind = PolicyKind::Lru;
        let dear = Candidate { cost: Some(1000 * SECOND), hits: 1000, ..plain() };
        lower(kind, Candidate { age: 61 * SECOND, ..dear }, plain());
    }

    #[test]
    fn lfu_looks_at_hits_over_time() {
        let kind = PolicyKind::Lfu;
        lower(kind, plain(), Candidate { hits: 4, ..plain() });
        lower(kind, Candidate { life: 6000 * SECOND, ..plain() }, plain());
        lower(kind, plain(), Candidate { hits: 0, life: Duration::ZERO, ..plain() });
    }

    #[test]
    fn random_goes_by_the_lot() {
        lower(PolicyKind::Random, plain(), Candidate { lot: 8, ..plain() });
        lower(PolicyKind::Random, plain(), Candidate { lot: u64::MAX, ..plain() });
    }

    #[test]
    fn every_value_is_finite() {
        let mut reuse = Reuse::new();
        let extremes = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
        let mut candidates = Vec::new();
        for cost in [None, Some(Duration::ZERO), Some(SECOND), Some(Duration::MAX)] {
            for age in extremes {
                for (bytes, hits) in [(0, 0), (1, 1), (u64::MAX, u32::MAX)] {
                    candidates.push(Candidate { cost, bytes, age, life: age, hits, lot: u64::MAX });
                }
            }
        }
        for _ in 0..100 {
            for kind in PolicyKind::ALL {
                for candidate in &candidates {
                    let value = kind.value(candidate, &reuse);
                    assert!(value.is_finite(), "{kind} {candidate:?}: {value}");
                }
            }
            for candidate in &candidates {
                let worth = Worth::new(candidate.cost, candidate.bytes);
                reuse.put(worth);
                reuse.hit(candidate.hits, candidate.age, worth);
                reuse.evicted(candidate.hits, worth);
                reuse.put_again(candidate.hits, candidate.age, worth);
            }
        }
    }

    #[test]
    fn names_lead_back() {
        for kind in PolicyKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.to_string(), kind.name());
        }
        let unknown = "fifo".parse::<PolicyKind>().unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "no eviction policy is called \"fifo\": there are cost, lru, lfu and random"
        );
    }
}
