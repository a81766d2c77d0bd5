//! A trace: who asks for what, when, what it costs to compute and how large it is.

use std::time::Duration;

/// What a key stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) cost: Duration,
    pub(crate) bytes: u64,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) item: usize,
    /// When, since the trace began.
    pub(crate) at: Duration,
}

/// The requests, and the items to which they refer by index.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) items: Vec<Item>,
    pub(crate) requests: Vec<Request>,
}

impl Trace {
    /// Requests at even intervals.
    pub(crate) fn steady(items: Vec<Item>, requests: impl IntoIterator<Item = usize>) -> Self {
        let times = (0..).map(|number: u32| number * INTERVAL);
        let requests = requests.into_iter().zip(times);
        Self { items, requests: requests.map(|(item, at)| Request { item, at }).collect() }
    }

    /// The same requests with a long pause after each part of them: nights between days.
    pub(crate) fn with_nights(mut self, days: usize) -> Self {
        let day = self.requests.len().div_ceil(days).max(1);
        for (number, request) in self.requests.iter_mut().enumerate() {
            let nights = u32::try_from(number / day).expect("there are few days");
            request.at += nights * NIGHT;
        }
        self
    }

    /// Bytes of everything that is asked for.
    pub(crate) fn working_set(&self) -> u64 {
        let mut seen = vec![false; self.items.len()];
        let mut bytes = 0;
        for request in &self.requests {
            if !std::mem::replace(&mut seen[request.item], true) {
                bytes += self.items[request.item].bytes;
            }
        }
        bytes
    }

    /// Compute time of the first request of each key, and of all others together.
    pub(crate) fn compute_seconds(&self) -> (f64, f64) {
        let mut seen = vec![false; self.items.len()];
        let (mut first, mut later) = (0.0, 0.0);
        for request in &self.requests {
            let cost = self.items[request.item].cost.as_secs_f64();
            if std::mem::replace(&mut seen[request.item], true) {
                later += cost;
            } else {
                first += cost;
            }
        }
        (first, later)
    }
}

/// Between two requests.
const INTERVAL: Duration = Duration::from_millis(100);
/// As long as it takes to make a quarter of a million requests.
const NIGHT: Duration = Duration::from_secs(25_000);
