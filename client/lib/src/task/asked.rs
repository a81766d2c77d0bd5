//! One call of a task, from its inputs to its value.
//!
//! **Invariants.** The task is run exactly once unless there is a hit, whatever is wrong with the
//! declaration, the inputs, the daemon or the outputs; an error of the task is passed on as it is,
//! and nothing is stored then.

use std::time::{Duration, Instant};

use memod_protocol::{Call, InvalidArgument, KnownCall};

use super::declaration::Declaration;
use super::file::Files;
use super::inputs::Inputs;
use super::options::TaskOptions;
use super::trouble::{self, Doing};
use super::typed::{FromLiteral, Returned, ToLiteral};
use crate::client::Client;
use crate::content::{Hit, HitOutput};
use crate::error::Error;
use crate::memo::Memoized;
use crate::mode::Mode;
use crate::options::MemoizeOptions;
use crate::outputs::PutOutput;

/// One call of a task. `C` is the client that it asks.
#[derive(Debug)]
pub struct Asked<C = Client> {
    declaration: &'static Declaration,
    options: TaskOptions,
    mode: Mode,
    client: Option<C>,
    files: Files,
    call: Result<Call, Error>,
}

/// The call as memod sees it: what `describe` of a task gives.
///
/// # Errors
/// If the declaration or a value is wrong.
pub fn describe(
    declaration: &'static Declaration,
    inputs: impl FnOnce(Inputs) -> Inputs,
) -> Result<Call, InvalidArgument> {
    declaration.call(&TaskOptions::new(), inputs(Inputs::new()).end()?)
}

/// Before there is anything to say of the call.
fn not_described() -> Error {
    Error::Invalid(InvalidArgument::new("inputs", "have not been described"))
}

impl Asked {
    /// A call of this task.
    #[must_use]
    pub fn new(
        declaration: &'static Declaration,
        declared: TaskOptions,
        options: &TaskOptions,
    ) -> Self {
        let options = declared.unless(options);
        let client = options.client.clone().unwrap_or_else(super::client);
        let mode = options.mode_with(client.mode());
        let (files, call) = (Files::default(), Err(not_described()));
        Self { declaration, options, mode, client: Some(client), files, call }
    }

    /// With these inputs, which are only made into literals if that is of use.
    #[must_use]
    pub fn describe(mut self, inputs: impl FnOnce(Inputs) -> Inputs) -> Self {
        if self.mode != Mode::Disabled {
            let made = self.files.while_reading(|| inputs(Inputs::new()).end());
            self.call = self.call(made);
        }
        self
    }

    /// The value, from the cache or from the task.
    ///
    /// # Errors
    /// What the task returned as an error.
    pub fn run<R: Returned>(
        mut self,
        task: impl FnOnce() -> R,
    ) -> Result<Memoized<R::Value>, R::Error> {
        let compute = || task().into_result();
        let client = self.client.take();
        let (Some(client), Way::Memoized(call, options)) = (client, self.way()) else {
            return self.run_alone(compute);
        };
        let identity = self.declaration.identity_of(call);
        let known = identity.as_deref().and_then(|identity| identity.know(call).ok());
        let glance = |known: &KnownCall<'_>| client.glance(known, options.max_age);
        if let Some(report) = self.glanced(known.as_ref(), glance) {
            return Ok(report);
        }
        let recall = known.as_ref().map(|known| client.recall_known(known, &options));
        // What is wrong with the call is told.
        let recall = recall.unwrap_or_else(|| client.recall(call, &options));
        let encode = |value: &R::Value| encode(&self.files, value);
        let report = client.memoize_recalled(call, recall, compute, encode, decode::<R::Value>)?;
        Ok(self.told(report))
    }
}

/// How a call goes on.
enum Way<'a> {
    /// Without a daemon.
    Alone,
    /// With these.
    Memoized(&'a Call, MemoizeOptions),
}

impl<C> Asked<C> {
    fn call(
        &self,
        inputs: Result<
            std::collections::BTreeMap<String, memod_protocol::Literal>,
            InvalidArgument,
        >,
    ) -> Result<Call, Error> {
        Ok(self.declaration.call(&self.options, inputs?)?)
    }

    fn way(&self) -> Way<'_> {
        match &self.call {
            Ok(call) if self.mode != Mode::Disabled => {
                Way::Memoized(call, self.options.memoize(self.mode))
            }
            _ => Way::Alone,
        }
    }

    /// The report of a hit that can be had without asking the daemon. What cannot be read is asked
    /// for, so that it is told and replaced.
    fn glanced<T: FromLiteral>(
        &self,
        known: Option<&KnownCall<'_>>,
        glance: impl FnOnce(&KnownCall<'_>) -> Option<Hit>,
    ) -> Option<Memoized<T>> {
        let begun = Instant::now();
        let known = known.filter(|_| self.mode.reads())?;
        let hit = glance(known)?;
        let value = decode::<T>(&hit.outputs).ok()?;
        Some(Memoized::of_hit(known.key(), hit, begun.elapsed()).map(|_| value))
    }

    /// Tells why the cache is not asked, unless that is what was wanted.
    fn before_alone(&self) {
        if self.mode != Mode::Disabled
            && let Err(error) = &self.call
        {
            trouble::tell(self.declaration.task(), Doing::LookingUp, error);
        }
    }

    fn after_alone<T>(self, value: T, took: Duration) -> Memoized<T> {
        Memoized::alone(value, took, self.mode, self.call.err())
    }

    fn run_alone<T, E>(self, compute: impl FnOnce() -> Result<T, E>) -> Result<Memoized<T>, E> {
        self.before_alone();
        let begun = Instant::now();
        let value = compute()?;
        Ok(self.after_alone(value, begun.elapsed()))
    }

    /// Tells what went wrong with the cache.
    fn told<T>(&self, report: Memoized<T>) -> Memoized<T> {
        let told = [
            (Doing::LookingUp, &report.lookup_error),
            // Why the call could not be looked up has been said.
            (
                Doing::Storing,
                if report.lookup_error.is_some() { &None } else { &report.store_error },
            ),
            (Doing::Serializing, &report.lease_error),
        ];
        for (doing, error) in told {
            if let Some(error) = error {
                trouble::tell(self.declaration.task(), doing, error);
            }
        }
        report
    }
}

fn encode<T: ToLiteral>(files: &Files, value: &T) -> Result<Vec<PutOutput>, Error> {
    files.check()?;
    Ok(value.to_outputs()?)
}

fn decode<T: FromLiteral>(outputs: &[HitOutput]) -> Result<T, Error> {
    T::from_outputs(outputs)
}

#[cfg(feature = "tokio")]
mod of_async {
    use std::future::Future;
    use std::io;
    use std::time::Instant;

    use super::super::clients::async_client;
    use super::{
        Asked, Declaration, Error, Files, Inputs, KnownCall, Memoized, Mode, Returned, TaskOptions,
        Way, decode, encode, not_described,
    };
    use crate::aio::{Client, hop};

    /// One call of an async task.
    pub type AsyncAsked = Asked<Client>;

    impl Asked<Client> {
        /// A call of this async task.
        #[must_use]
        pub fn new_async(
            declaration: &'static Declaration,
            declared: TaskOptions,
            options: &TaskOptions,
        ) -> Self {
            let options = declared.unless(options);
            let client = options.async_client.clone().or_else(async_client);
            let mode = options.mode_with(client.as_ref().map_or(Mode::Enabled, Client::mode));
            let call = Err(if client.is_some() { not_described() } else { no_runtime() });
            Self { declaration, options, mode, client, files: Files::default(), call }
        }

        /// With these inputs; whether files among them have to be read, after which the inputs
        /// are to be described again.
        pub fn describe_async(&mut self, inputs: impl FnOnce(Inputs) -> Inputs) -> bool {
            if self.mode == Mode::Disabled || self.client.is_none() {
                return false;
            }
            let (made, complete) = self.files.while_known(|| inputs(Inputs::new()).end());
            if complete || made.is_err() {
                self.call = self.call(made);
                return false;
            }
            true
        }

        /// Reads the files among the inputs, on a thread that may block; whether that worked.
        pub async fn read_files(&mut self) -> bool {
            let mut files = std::mem::take(&mut self.files);
            let read = hop(move || files.read_missing().map(|()| files)).await;
            match read.and_then(|read| read.map_err(Error::Invalid)) {
                Ok(files) => {
                    self.files = files;
                    true
                }
                Err(error) => {
                    self.call = Err(error);
                    false
                }
            }
        }

        /// The value, from the cache or from the task, which is called and polled only then.
        ///
        /// # Errors
        /// What the task returned as an error.
        pub async fn run_async<R: Returned, F: Future<Output = R>>(
            mut self,
            task: impl FnOnce() -> F,
        ) -> Result<Memoized<R::Value>, R::Error> {
            let compute = || async { task().await.into_result() };
            let client = self.client.take();
            let (Some(client), Way::Memoized(call, options)) = (client, self.way()) else {
                self.before_alone();
                let begun = Instant::now();
                let value = compute().await?;
                return Ok(self.after_alone(value, begun.elapsed()));
            };
            let identity = self.declaration.identity_of(call);
            let known = identity.as_deref().and_then(|identity| identity.know(call).ok());
            let glance = |known: &KnownCall<'_>| client.glance(known, options.max_age);
            if let Some(report) = self.glanced(known.as_ref(), glance) {
                return Ok(report);
            }
            let encode = |value: &R::Value| encode(&self.files, value);
            let memoized =
                client.memoize_value(call, &options, compute, encode, decode::<R::Value>);
            let report = memoized.await?;
            Ok(self.told(report))
        }
    }

    fn no_runtime() -> Error {
        Error::Local {
            what: "an async task reaches the daemon on a tokio runtime only".into(),
            source: io::Error::from(io::ErrorKind::Unsupported),
        }
    }
}

#[cfg(feature = "tokio")]
pub use of_async::AsyncAsked;
