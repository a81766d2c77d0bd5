//! Does the work and measures it.

use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::command::{Command, Done, Values};
use crate::content::{Content, next_random};
use crate::program;
use crate::rival::{Found, Place, Rival};

/// Lookups that each client does before all of them begin to be measured.
const WARM_UP_OPERATIONS: u64 = 8;
/// Each client that stores begins so much further on; none stores as many.
const CLIENT_STRIDE: u64 = 1 << 24;

/// One rival, with one client that stays connected.
pub(crate) struct Worker {
    place: Box<dyn Place>,
    client: Box<dyn Rival>,
}

impl Worker {
    /// Connects the first client.
    pub(crate) fn new(place: Box<dyn Place>) -> Result<Self> {
        let client = place.connect()?;
        Ok(Self { place, client })
    }

    /// Does one piece of work.
    pub(crate) fn obey(&mut self, command: &Command) -> Result<Done> {
        match command {
            Command::Fill(values) => self.fill(values),
            Command::Hits { values, operations, present_percent } => {
                self.hits(values, *operations, *present_percent)
            }
            Command::HitRate { values, clients, milliseconds, together: Some(together) } => self
                .rate(*clients, *milliseconds, |rival, client| {
                    let mut lookups = Lookups::new(values, client);
                    let numbers: Vec<u64> = (0..*together).map(|_| lookups.number()).collect();
                    lookups.together(rival, &numbers)?;
                    Ok(move |rival: &mut dyn Rival| lookups.together(rival, &numbers))
                }),
            Command::HitRate { values, clients, milliseconds, together: None } => {
                self.rate(*clients, *milliseconds, |rival, client| {
                    let mut lookups = Lookups::new(values, client);
                    for _ in 0..WARM_UP_OPERATIONS {
                        lookups.next(rival, 100)?;
                    }
                    Ok(move |rival: &mut dyn Rival| lookups.next(rival, 100).map(|_| 1))
                })
            }
            Command::PutRate { values, clients, milliseconds } => {
                self.rate(*clients, *milliseconds, |_, client| {
                    let mut content = Content::new(values.bytes);
                    let mut number = values.count + client * CLIENT_STRIDE;
                    Ok(move |rival: &mut dyn Rival| {
                        rival.aim(&values.group, number);
                        rival.put(content.of(number))?;
                        number += 1;
                        Ok(1)
                    })
                })
            }
            Command::Run(program) => program::run(program).map(latency),
        }
    }

    fn fill(&mut self, values: &Values) -> Result<Done> {
        let mut content = Content::new(values.bytes);
        for number in 0..values.count {
            self.client.aim(&values.group, number);
            self.client.put(content.of(number))?;
        }
        self.place.settle()?;
        Ok(Done::Filled)
    }

    fn hits(&mut self, values: &Values, operations: u64, present_percent: u64) -> Result<Done> {
        let mut lookups = Lookups::new(values, 0);
        let took = (0..operations).map(|_| lookups.next(&mut *self.client, present_percent));
        took.collect::<Result<_>>().map(latency)
    }

    /// Lets clients work at once for so long, each with what `prepare` gives for its number, which
    /// tells how many operations it has done.
    fn rate<Work>(
        &self,
        clients: u64,
        milliseconds: u64,
        prepare: impl Fn(&mut dyn Rival, u64) -> Result<Work> + Sync,
    ) -> Result<Done>
    where
        Work: FnMut(&mut dyn Rival) -> Result<u32>,
    {
        let threads = usize::try_from(clients).context("so many clients")?;
        let (barrier, window) = (Barrier::new(threads), OnceLock::new());
        let one = |number| {
            // Who failed still comes to the barrier, or the others would wait for ever.
            let prepared = self.place.connect().and_then(|mut rival| {
                let work = prepare(&mut *rival, number)?;
                Ok((rival, work))
            });
            barrier.wait();
            let (mut rival, mut work) = prepared?;
            // All have one window, or what they do one after the other would count as at once.
            let began = *window.get_or_init(Instant::now);
            let end = began + Duration::from_millis(milliseconds);
            let mut operations = 0_u32;
            let mut now = Instant::now();
            while now < end {
                operations += work(&mut *rival)?;
                now = Instant::now();
            }
            Ok((operations, now - began))
        };
        let did: Vec<Result<(u32, Duration)>> = std::thread::scope(|scope| {
            let one = &one;
            let started: Vec<_> =
                (0..clients).map(|number| scope.spawn(move || one(number))).collect();
            let ended = started.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("a client has panicked")))
            });
            ended.collect()
        });
        let did = did.into_iter().collect::<Result<Vec<_>>>()?;
        let operations: f64 = did.iter().map(|(operations, _)| f64::from(*operations)).sum();
        let longest = did.iter().map(|(_, took)| *took).max().context("no client")?;
        Ok(Done::Rate(operations / longest.as_secs_f64()))
    }
}

/// Lookups at random among what is stored, and for what is not.
struct Lookups<'a> {
    values: &'a Values,
    content: Content,
    random: u64,
}

impl<'a> Lookups<'a> {
    fn new(values: &'a Values, client: u64) -> Self {
        let random = next_random(client + 1);
        Self { values, content: Content::new(values.bytes), random }
    }

    /// The next number.
    fn number(&mut self) -> u64 {
        self.random = next_random(self.random);
        (self.random >> 8) % self.values.count
    }

    /// Lookups of all these numbers at once; gives how many.
    fn together(&mut self, rival: &mut dyn Rival, numbers: &[u64]) -> Result<u32> {
        let (mut shown, content) = (0, &mut self.content);
        rival.get_many(&self.values.group, numbers, &mut |number, found| {
            shown += 1;
            Found::compare(found, content.of(number)).guard(Found::Hit)
        })?;
        if shown != numbers.len() {
            bail!("{shown} answers where {} were due", numbers.len());
        }
        Ok(u32::try_from(shown)?)
    }

    /// One lookup; gives how long it took, with every byte read.
    fn next(&mut self, rival: &mut dyn Rival, present_percent: u64) -> Result<Duration> {
        let number = self.number();
        let present = (self.random >> 40) % 100 < present_percent;
        let (asked, due) =
            if present { (number, Found::Hit) } else { (number + self.values.count, Found::Miss) };
        let expected = self.content.of(number);
        rival.aim(&self.values.group, asked);
        let began = Instant::now();
        let found = rival.get(expected)?;
        let took = began.elapsed();
        found.guard(due)?;
        Ok(took)
    }
}

fn latency(mut took: Vec<Duration>) -> Done {
    took.sort_unstable();
    let quantile = |percent: usize| {
        let at = took.len().saturating_sub(1) * percent / 100;
        took.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let mean = took.iter().sum::<Duration>().as_secs_f64() / took.len() as f64;
    Done::Latency {
        mean_us: mean * 1e6,
        median_us: quantile(50),
        p10_us: quantile(10),
        p90_us: quantile(90),
        operations: took.len(),
    }
}
