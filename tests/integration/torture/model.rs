//! What must be stored, known from what was asked and answered.
//!
//! Many write and remove the same keys at once. Each request is an event that happened at some
//! moment between its beginning and its end; of a request that was never answered it is not known
//! whether it happened at all, until somebody has seen it.
//!
//! **Invariants.** What is seen is accepted if, and only if, some order of the events explains it:
//! a hit, if nothing that was done surely came between its put and the look; a miss, if nothing
//! that was put is surely there, and its reason and time are those of a removal or an eviction
//! that may have been the last. What has been seen gone may not come back, also not after a crash.

use std::time::{SystemTime, UNIX_EPOCH};

use memod_protocol::{Miss, MissReason};

use super::content::KEYS;

/// What was seen of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The entry of this version.
    Hit(u32),
    /// None, and why and since when.
    Miss(MissReason, Option<u64>),
}

impl From<&Miss> for Seen {
    fn from(miss: &Miss) -> Self {
        Self::Miss(miss.reason, miss.at_ms)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put(u32),
    Removal,
    /// It was seen that there is none.
    Gone(MissReason, Option<u64>),
}

/// Something that happened to a key, or may have.
#[derive(Debug, Clone)]
struct Event {
    id: u64,
    kind: Kind,
    began: u64,
    /// None while nobody has answered.
    ended: Option<u64>,
    began_ms: u64,
    ended_ms: u64,
    /// Whether it surely happened.
    done: bool,
}

impl Event {
    /// Whether it is over before that moment.
    fn is_before(&self, moment: u64) -> bool {
        self.ended.is_some_and(|ended| ended < moment)
    }

    fn surely_happened_before(&self, moment: u64) -> bool {
        self.done && self.is_before(moment)
    }

    fn surely_put_before(&self, moment: u64) -> bool {
        matches!(self.kind, Kind::Put(_)) && self.surely_happened_before(moment)
    }
}

/// A request that has not been answered.
#[derive(Debug)]
pub(crate) struct Begun {
    id: u64,
    numbers: Vec<usize>,
}

/// What is known of all keys.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    histories: Vec<Vec<Event>>,
    moment: u64,
    version: u32,
    /// Whether entries may be evicted.
    evicts: bool,
    /// Puts that stored something, and puts that may have.
    puts: (u64, u64),
}

/// The clock that the daemon has, too.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("fits")
}

impl Model {
    /// Of a new store.
    pub(crate) fn new(evicts: bool) -> Self {
        Self { histories: vec![Vec::new(); KEYS], moment: 0, version: 0, evicts, puts: (0, 0) }
    }

    /// A moment after all before.
    pub(crate) fn now(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// A version that was never put.
    pub(crate) fn new_version(&mut self) -> u32 {
        self.version += 1;
        self.version
    }

    /// Whether entries may be evicted.
    pub(crate) fn evicts(&self) -> bool {
        self.evicts
    }

    /// Puts that the store must have counted: at least, and at most.
    pub(crate) fn puts(&self) -> std::ops::RangeInclusive<u64> {
        self.puts.0..=self.puts.0 + self.puts.1
    }

    fn begin(&mut self, numbers: Vec<usize>, kind: Kind) -> Begun {
        let (began, began_ms) = (self.now(), now_ms());
        let event = Event {
            id: began,
            kind,
            began,
            ended: None,
            began_ms,
            ended_ms: u64::MAX,
            done: false,
        };
        for number in &numbers {
            self.histories[*number].push(event.clone());
        }
        Begun { id: began, numbers }
    }

    /// A put is asked for.
    pub(crate) fn begin_put(&mut self, number: usize, version: u32) -> Begun {
        self.puts.1 += 1;
        self.begin(vec![number], Kind::Put(version))
    }

    /// A removal of these, if they are there, is asked for.
    pub(crate) fn begin_removal(&mut self, numbers: Vec<usize>) -> Begun {
        self.begin(numbers, Kind::Removal)
    }

    /// A request is answered: it has done what it asked for, to all of its keys, or perhaps.
    pub(crate) fn end(&mut self, begun: Begun, is_done: bool) {
        let (ended, ended_ms) = (self.now(), now_ms());
        for number in begun.numbers {
            for event in self.histories[number].iter_mut().filter(|event| event.id == begun.id) {
                (event.ended, event.ended_ms) = (Some(ended), ended_ms);
                event.done |= is_done;
                if matches!(event.kind, Kind::Put(_)) {
                    self.puts = (self.puts.0 + 1, self.puts.1 - 1);
                }
            }
        }
    }

    /// A put is answered: it has changed nothing.
    pub(crate) fn refuse_put(&mut self, begun: &Begun) {
        self.puts.1 -= 1;
        for number in &begun.numbers {
            let refused = self.histories[*number].iter().position(|event| event.id == begun.id);
            let refused = self.histories[*number].remove(refused.expect("it was begun"));
            assert!(!refused.done, "{refused:?} has been seen and was refused");
        }
    }

    /// The daemon is dead: what is not answered never will be.
    pub(crate) fn crash(&mut self) {
        let (ended, ended_ms) = (self.now(), now_ms());
        let open = |event: &&mut Event| event.ended.is_none();
        for event in self.histories.iter_mut().flatten().filter(open) {
            (event.ended, event.ended_ms) = (Some(ended), ended_ms);
        }
    }

    /// Somebody who began to look at that moment has now seen this.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(crate) fn look(&mut self, number: usize, began: u64, seen: Seen) -> Result<(), String> {
        let explained = match seen {
            Seen::Hit(version) => self.explain_hit(number, began, version),
            Seen::Miss(reason, at_ms) => self.explain_miss(number, began, reason, at_ms),
        };
        explained.map_err(|why| {
            let history = &self.histories[number];
            format!("call {number} at moment {began}: {seen:?}: {why}\n{history:#?}")
        })?;
        let ended = self.now();
        let history = &mut self.histories[number];
        match seen {
            Seen::Hit(version) => {
                let its = history.iter_mut().find(|event| event.kind == Kind::Put(version));
                let its = its.expect("it has been explained");
                its.done = true;
                its.ended.get_or_insert(ended);
            }
            Seen::Miss(reason, at_ms) => {
                let kind = Kind::Gone(reason, at_ms);
                history.retain(|event| !matches!(event.kind, Kind::Gone(..)));
                let (began_ms, ended_ms) = (0, now_ms());
                let ended = Some(ended);
                history.push(Event {
                    id: began,
                    kind,
                    began,
                    ended,
                    began_ms,
                    ended_ms,
                    done: true,
                });
            }
        }
        Ok(())
    }

    fn explain_hit(&self, number: usize, began: u64, version: u32) -> Result<(), String> {
        let history = &self.histories[number];
        let put = history.iter().find(|event| event.kind == Kind::Put(version));
        let put = put.ok_or("it was never put, or is gone since long")?;
        let since = history
            .iter()
            .find(|event| event.surely_happened_before(began) && put.is_before(event.began));
        since.map_or(Ok(()), |event| Err(format!("it was replaced or gone before: {event:?}")))
    }

    fn explain_miss(
        &self,
        number: usize,
        began: u64,
        reason: MissReason,
        at_ms: Option<u64>,
    ) -> Result<(), String> {
        let history = &self.histories[number];
        let was_put = |event: &Event| event.surely_put_before(began);
        if reason == MissReason::NeverSeen {
            let is_known = |event: &&Event| {
                let was_gone = |of| of != MissReason::NeverSeen;
                was_put(event) || matches!(event.kind, Kind::Gone(of, _) if was_gone(of))
            };
            let known = history.iter().find(is_known);
            return known.map_or(Ok(()), |event| Err(format!("it was known: {event:?}")));
        }
        let at_ms = at_ms.filter(|at| *at <= now_ms()).ok_or("it does not say when it went")?;
        let put_since =
            |gone: &Event| history.iter().any(|e| was_put(e) && gone.is_before(e.began));
        let put_later = || history.iter().any(|e| was_put(e) && e.began_ms > at_ms);
        let explains = |event: &Event| match (reason, event.kind) {
            (_, Kind::Gone(..)) => {
                event.kind == Kind::Gone(reason, Some(at_ms)) && !put_since(event)
            }
            // Its time is that of the eviction itself.
            (MissReason::Evicted, Kind::Put(_)) => {
                self.evicts && event.began_ms <= at_ms && !put_later()
            }
            // Its time is taken before it waits for its turn.
            (MissReason::Invalidated, Kind::Removal) => {
                (event.began_ms..=event.ended_ms).contains(&at_ms) && !put_since(event)
            }
            _ => false,
        };
        if history.iter().any(explains) {
            return Ok(());
        }
        Err("nothing explains it".to_owned())
    }

    /// Nothing is going on: what is seen is what is there, and all that is still to be known.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn settle(&mut self, number: usize, seen: Seen) -> Result<(), String> {
        let began = self.now();
        self.look(number, began, seen)?;
        self.histories[number].retain(|event| match seen {
            Seen::Hit(version) => event.kind == Kind::Put(version),
            Seen::Miss(MissReason::NeverSeen, _) => false,
            Seen::Miss(..) => event.id == began,
        });
        Ok(())
    }

    /// The store was counted: so many puts have stored something.
    pub(crate) fn settle_puts(&mut self, counted: u64) {
        assert!(self.puts().contains(&counted), "{counted} puts of {:?}", self.puts());
        self.puts = (counted, 0);
    }

    /// A new store is begun; what is known of the old one is given.
    pub(crate) fn begin_anew(&mut self) -> Self {
        let old = self.clone();
        self.histories = vec![Vec::new(); KEYS];
        self.puts = (0, 0);
        old
    }
}
