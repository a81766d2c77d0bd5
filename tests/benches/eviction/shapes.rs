//! The traces: generated ones by shape and weights, and recorded ones.

use std::time::Duration;

use harness::Random;

use super::recorded;
use super::trace::{Item, Trace};

/// A kind of trace; a seed and a size make it one.
pub(crate) struct Shape {
    pub(crate) name: String,
    /// Whether costs are heavy-tailed and independent of sizes, and popular keys stay so.
    pub(crate) heavy: bool,
    make: Make,
}

type Make = Box<dyn Fn(usize, &mut Random) -> Trace + Send + Sync>;

impl Shape {
    /// The trace with so many keys or fewer and ten times as many requests. Recorded ones
    /// are as they are.
    pub(crate) fn trace(&self, keys: usize, seed: u64) -> Trace {
        (self.make)(keys, &mut Random::new(seed))
    }
}

/// How costs and sizes are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    /// One second, 10 kB.
    Equal,
    /// Costs and sizes log-normal, of deviation 2 and 1.5, independent.
    LogNormal,
    /// Costs and sizes of Pareto's law with exponents 1.1 and 1.2, independent.
    Pareto,
    /// Log-normal, and most of a cost comes of the size.
    Correlated,
}

const ALL_WEIGHTS: [(Weights, &str); 4] = [
    (Weights::Equal, "equal"),
    (Weights::LogNormal, "log-normal"),
    (Weights::Pareto, "pareto"),
    (Weights::Correlated, "correlated"),
];

/// Every trace.
pub(crate) fn all() -> Vec<Shape> {
    let mut shapes = Shapes(Vec::new());
    shapes.add("recorded builds", false, |_, _| recorded::builds());
    for (weights, name) in ALL_WEIGHTS {
        let heavy = matches!(weights, Weights::LogNormal | Weights::Pareto);
        for exponent in [0.7, 0.9, 1.1] {
            shapes.add(&format!("zipf {exponent} {name}"), heavy, move |keys, random| {
                let zipf = Zipf::new(keys, exponent);
                let items = weights.items(keys, random);
                Trace::steady(items, (0..keys * 10).map(|_| zipf.draw(random)))
            });
        }
        let nights = move |keys, random: &mut Random| drift(weights, keys, random).with_nights(10);
        shapes.add(&format!("drift with nights {name}"), false, nights);
        if weights == Weights::Pareto {
            continue;
        }
        shapes.add(&format!("drift {name}"), false, move |k, random| drift(weights, k, random));
        shapes.add(&format!("scans {name}"), false, move |k, r| scans(weights, 1, k, r));
        shapes.add(&format!("dear scans {name}"), false, move |k, r| scans(weights, 10, k, r));
        for (exponent, sets, of) in [(0.9, 10, 10), (0.5, 50, 50), (0.5, 20, 100)] {
            let name = format!("shifts {exponent} {sets} {name}");
            shapes.add(&name, false, move |keys, random| {
                shifts(weights, exponent, sets, keys / of, keys * 10, random)
            });
        }
        shapes.add(&format!("loop {name}"), false, move |keys, random| {
            let items = weights.items(keys / 4, random);
            Trace::steady(items, (0..keys * 10).map(|number| number % (keys / 4)))
        });
        shapes.add(&format!("near loop {name}"), false, move |keys, r| loops(weights, keys, r));
        shapes.add(&format!("recent {name}"), false, move |keys, r| recent(weights, keys, r));
    }
    for (cost, name) in [(0.1, "cheap"), (10.0, "dear"), (100.0, "very dear")] {
        shapes.add(&format!("bursts {name}"), false, move |keys, r| bursts(cost, keys, r));
    }
    shapes.0
}

struct Shapes(Vec<Shape>);

impl Shapes {
    fn add(
        &mut self,
        name: &str,
        heavy: bool,
        make: impl Fn(usize, &mut Random) -> Trace + Send + Sync + 'static,
    ) {
        self.0.push(Shape { name: name.to_owned(), heavy, make: Box::new(make) });
    }
}

/// A Zipf load, and every now and then a sweep over cold keys that cost so many times as much.
fn scans(weights: Weights, factor: u32, keys: usize, random: &mut Random) -> Trace {
    let (hot, cold) = (keys / 2, keys);
    let zipf = Zipf::new(hot, 0.9);
    let mut items = weights.items(hot + cold, random);
    items.iter_mut().skip(hot).for_each(|item| item.cost *= factor);
    let mut requests = Vec::new();
    let mut swept = (0..cold).cycle();
    while requests.len() < keys * 10 {
        requests.extend((0..hot).map(|_| zipf.draw(random)));
        for at in swept.by_ref().take(hot) {
            requests.push(hot + at);
            requests.extend((random.below(2) == 0).then(|| zipf.draw(random)));
        }
    }
    Trace::steady(items, requests)
}

/// Working sets that follow each other and never come back.
fn shifts(
    weights: Weights,
    exponent: f64,
    sets: usize,
    set: usize,
    requests: usize,
    random: &mut Random,
) -> Trace {
    let zipf = Zipf::new(set, exponent);
    let items = weights.items(set * sets, random);
    let each = requests / sets;
    Trace::steady(items, (0..each * sets).map(|at| at / each * set + zipf.draw(random)))
}

/// The newest keys are the most popular, and new ones keep coming.
fn drift(weights: Weights, keys: usize, random: &mut Random) -> Trace {
    let (window, requests) = (keys / 10, keys * 10);
    let zipf = Zipf::new(window, 0.8);
    let items = weights.items(keys + window, random);
    let newest = (0..requests).map(|at| window + at * keys / requests);
    Trace::steady(items, newest.map(|newest| newest - 1 - zipf.draw(random)))
}

/// A loop over a little more than a cache of 5 % holds, through a few rare others.
fn loops(weights: Weights, keys: usize, random: &mut Random) -> Trace {
    let round = keys * 6 / 100;
    let items = weights.items(keys, random);
    let requests = (0..keys * 10).map(|at| {
        if at % 10 == 0 { round + random.below(keys - round) } else { (at - at / 10) % round }
    });
    Trace::steady(items, requests)
}

/// What was asked for lately is asked for again, whatever it is: the depth in the order of last use
/// is log-uniform, so nothing beats LRU where costs are equal.
fn recent(weights: Weights, keys: usize, random: &mut Random) -> Trace {
    let items = weights.items(keys, random);
    let (mut order, mut requests) = (Vec::new(), Vec::new());
    while requests.len() < keys * 10 {
        let new = order.is_empty() || (order.len() < keys && random.below(10) == 0);
        let item = if new {
            order.len()
        } else {
            let depth = floor((order.len() as f64).powf(unit(random)));
            order.remove(order.len() - depth.clamp(1, order.len()))
        };
        order.push(item);
        requests.push(item);
    }
    Trace::steady(items, requests)
}

/// Through a hot set, keys that are used a few times in a short while and never again; they cost so
/// many times as much.
fn bursts(cost: f64, keys: usize, random: &mut Random) -> Trace {
    let hot = keys / 20;
    let zipf = Zipf::new(hot, 0.5);
    let mut items = Weights::Equal.items(keys, random);
    items.iter_mut().skip(hot).for_each(|item| item.cost = item.cost.mul_f64(cost));
    let (mut requests, mut new, mut alive) = (Vec::new(), hot..keys, Vec::new());
    while requests.len() < keys * 10 {
        if random.below(3) > 0 {
            requests.push(zipf.draw(random));
            continue;
        }
        if alive.len() < 20 {
            let Some(key) = new.next() else { break };
            alive.push((key, 3 + random.below(4)));
        }
        let at = random.below(alive.len());
        let (key, uses) = alive[at];
        requests.push(key);
        if uses == 1 {
            alive.swap_remove(at);
        } else {
            alive[at] = (key, uses - 1);
        }
    }
    Trace::steady(items, requests)
}

impl Weights {
    fn items(self, count: usize, random: &mut Random) -> Vec<Item> {
        (0..count).map(|_| self.item(random)).collect()
    }

    fn item(self, random: &mut Random) -> Item {
        let (seconds, bytes) = match self {
            Self::Equal => (1.0, 10_000.0),
            Self::LogNormal => {
                ((2.0 * normal(random)).exp(), 10_000.0 * (1.5 * normal(random)).exp())
            }
            Self::Pareto => (
                unit(random).powf(-1.0 / 1.1).min(1e5),
                4000.0 * unit(random).powf(-1.0 / 1.2).min(1e5),
            ),
            Self::Correlated => {
                let size = 1.5 * normal(random);
                ((size + 1.3 * normal(random)).exp(), 10_000.0 * size.exp())
            }
        };
        Item { cost: Duration::from_secs_f64(seconds), bytes: floor(bytes) as u64 }
    }
}

/// Zipf's law: the chance of the i-th is as 1 / i to the power of the exponent.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = unit(random) * self.0.last().copied().unwrap_or_default();
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1)
    }
}

/// Between 0 and 1, neither of them.
fn unit(random: &mut Random) -> f64 {
    ((random.number() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Of the standard normal distribution (Box and Muller).
fn normal(random: &mut Random) -> f64 {
    (-2.0 * unit(random).ln()).sqrt() * (std::f64::consts::TAU * unit(random)).cos()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn floor(number: f64) -> usize {
    number as usize
}
