//! What happens in each cycle: how the daemon is set up, how much it has to do, how it ends.

use std::collections::{BTreeMap, VecDeque};

use harness::Random;
use memod_store::Failpoint;

/// How much may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// So little that entries are evicted all the time.
    Small,
    /// So much that nothing is evicted.
    Ample,
}

/// Bytes of the small store, and of its user. An upload of each worker fits in besides.
pub(crate) const SMALL_BYTES_MAX: u64 = 20 << 20;
const SMALL_USER_BYTES_MAX: u64 = 18 << 20;

impl Budget {
    /// The configuration of a daemon.
    fn config(self) -> String {
        let limits = match self {
            Self::Small => format!(
                "store_bytes_max = {SMALL_BYTES_MAX}\nstore_bytes_high = {}\n\
                 store_bytes_low = {}\nuser_bytes_max = {SMALL_USER_BYTES_MAX}\n\
                 scope_bytes = {{ torture = {{ narrow = {} }} }}\n",
                9 << 20,
                7 << 20,
                4 << 20,
            ),
            Self::Ample => "store_bytes_max = 0\n".to_owned(),
        };
        // A small cache, so that the disk is read; and it is synced as often as can be.
        let rest = "disk_reserve_bytes = 0\nhot_bytes = 2000000\nsync_interval = \"10ms\"\n";
        format!("{limits}{rest}log = \"warn\"\n")
    }

    /// Whether a store of this budget comes to that place at all.
    fn reaches(self, point: Failpoint) -> bool {
        let evicts =
            matches!(point, Failpoint::EvictionChosen | Failpoint::Evicted | Failpoint::RoomMade);
        self == Self::Small || !evicts
    }
}

/// How the daemon of a cycle ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By SIGKILL, at a random moment.
    Kill,
    /// By SIGTERM, in an orderly way.
    Stop,
    /// By itself, when it comes to this place for this time; else by SIGTERM.
    At(Failpoint, usize),
}

/// A cycle.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How the daemon ends.
    pub(crate) end: End,
    /// After how many acknowledged requests it is ended.
    pub(crate) load: usize,
    /// Its configuration.
    pub(crate) config: String,
}

impl Plan {
    /// Whether the database is to be set aside in this cycle.
    pub(crate) fn sets_aside(&self) -> bool {
        matches!(
            self.end,
            End::At(
                Failpoint::SetAsideFolder | Failpoint::SetAsideMoved | Failpoint::CreateDatabase,
                _
            )
        )
    }

    /// Whether columns are to be written anew in this cycle.
    pub(crate) fn renews(&self) -> bool {
        matches!(self.end, End::At(Failpoint::Renewed, _))
    }

    /// What arms the daemon.
    pub(crate) fn armed(&self) -> Option<String> {
        match self.end {
            End::At(point, time) => Some(format!("{}:{time}", point.name())),
            End::Kill | End::Stop => None,
        }
    }
}

/// Acknowledged requests of a cycle that ends at random: from none to this many.
const RANDOM_LOAD_MAX: usize = 120;
/// Acknowledged requests in which an armed place must be reached.
const ARMED_LOAD: usize = 160;
/// Of so many cycles one ends at random, the others at a place: until each place has been reached,
/// and then.
const RANDOM_ONE_OF: (usize, usize) = (6, 2);

/// How often a place may be passed before the daemon dies there: about as often as it is in one
/// cycle, or less.
fn times_max(point: Failpoint) -> usize {
    match point {
        Failpoint::BeforeWrite | Failpoint::AfterWrite | Failpoint::BetweenAnswers => 80,
        Failpoint::UploadChunk => 24,
        Failpoint::UploadFinished | Failpoint::BeforeReap => 12,
        Failpoint::EvictionChosen | Failpoint::Evicted | Failpoint::Renewed => 8,
        Failpoint::RoomMade => 2,
        Failpoint::BetweenFolds => 6,
        Failpoint::BeforeSync | Failpoint::CollectFlushed | Failpoint::Collected => 9,
        Failpoint::CreateDatabase
        | Failpoint::Rebuild
        | Failpoint::RebuildEntries
        | Failpoint::OpenLoose
        | Failpoint::SetAsideFolder
        | Failpoint::SetAsideMoved
        | Failpoint::CloseFolded
        | Failpoint::CloseFlushed => 1,
    }
}

/// Makes plans, so that each place is reached.
#[derive(Debug)]
pub(crate) struct Planner {
    budget: Budget,
    random: Random,
    /// Places to be reached, in turn.
    due: VecDeque<Failpoint>,
    /// How often in turn each place was not reached.
    missed: BTreeMap<Failpoint, u32>,
    /// How often the daemon has died at each place.
    pub(crate) deaths: BTreeMap<Failpoint, usize>,
}

impl Planner {
    /// A planner that has not planned.
    pub(crate) fn new(budget: Budget, seed: u64) -> Self {
        let reached = Failpoint::ALL.iter().copied().filter(|point| budget.reaches(*point));
        let deaths = reached.map(|point| (point, 0)).collect();
        let (random, due, missed) = (Random::new(seed), VecDeque::new(), BTreeMap::new());
        Self { budget, random, due, missed, deaths }
    }

    /// The next cycle.
    pub(crate) fn next(&mut self) -> Plan {
        let all_reached = self.never_reached().is_empty();
        let one_of = if all_reached { RANDOM_ONE_OF.1 } else { RANDOM_ONE_OF.0 };
        let end = if self.random.below(one_of) > 0 {
            let point = self.next_point();
            // If it was not reached in time, it is to be sooner.
            let missed = self.missed.get(&point).copied().unwrap_or(0);
            End::At(point, 1 + self.random.below((times_max(point) >> missed).max(1)))
        } else if self.random.below(5) == 0 {
            End::Stop
        } else {
            End::Kill
        };
        // Under `power` nothing is left to sync later.
        let power = self.random.below(2) == 0 && !matches!(end, End::At(Failpoint::BeforeSync, _));
        let durability = if power { "power" } else { "process" };
        let config = format!("{}durability = \"{durability}\"\n", self.budget.config());
        let load = match end {
            End::At(..) => ARMED_LOAD,
            End::Kill | End::Stop => self.random.below(RANDOM_LOAD_MAX + 1),
        };
        let mut plan = Plan { end, load, config };
        if plan.sets_aside() {
            plan.config.push_str("on_damage = \"set_aside\"\n");
        }
        plan
    }

    fn next_point(&mut self) -> Failpoint {
        if self.due.is_empty() {
            let mut all: Vec<Failpoint> = self.deaths.keys().copied().collect();
            while !all.is_empty() {
                self.due.push_back(all.swap_remove(self.random.below(all.len())));
            }
        }
        self.due.pop_front().expect("there are places")
    }

    /// The daemon has died where it was to, or has not come there.
    pub(crate) fn note(&mut self, plan: &Plan, died: bool) {
        if let End::At(point, _) = plan.end {
            if died {
                *self.deaths.entry(point).or_default() += 1;
                self.missed.remove(&point);
            } else {
                *self.missed.entry(point).or_default() += 1;
                self.due.push_back(point);
            }
        }
    }

    /// The places at which the daemon has never died.
    pub(crate) fn never_reached(&self) -> Vec<&'static str> {
        let never = self.deaths.iter().filter(|(_, deaths)| **deaths == 0);
        never.map(|(point, _)| point.name()).collect()
    }
}
