//! How a task is to be memoized: what its declaration says, and what one call says otherwise.

use std::time::Duration;

use memod_protocol::RunClaim;

use crate::client::Client;
use crate::mode::Mode;
use crate::options::{MemoizeOptions, Wait};

/// What one call of a task says otherwise than its declaration; see the macro's `with`.
///
/// ```
/// use memod_client::{Mode, TaskOptions};
///
/// let anew = TaskOptions::new().mode(Mode::Overwrite).cache_version("2");
/// ```
#[derive(Debug, Clone, Default)]
pub struct TaskOptions {
    pub(super) client: Option<Client>,
    #[cfg(feature = "tokio")]
    pub(super) async_client: Option<crate::aio::Client>,
    pub(super) project: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) cache_version: Option<String>,
    mode: Option<Mode>,
    /// What the declaration allows; the client may allow less.
    allowed: Mode,
    serialize: Option<bool>,
    wait: Option<Wait>,
    max_age: Option<Duration>,
    run: Option<RunClaim>,
}

impl TaskOptions {
    /// Nothing otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks this client in place of the process's; for tasks that are not async.
    #[must_use]
    pub fn client(mut self, client: impl Into<Client>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// Asks this client in place of the process's; for async tasks.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn async_client(mut self, client: impl Into<crate::aio::Client>) -> Self {
        self.async_client = Some(client.into());
        self
    }

    /// Whether to read, write, both or neither, whatever task and client say.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Computes entries again that are strictly older; zero: none is too old.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Whether one computes for all who ask for the same call at the same time.
    #[must_use]
    pub const fn serialize(mut self, serialize: bool) -> Self {
        self.serialize = Some(serialize);
        self
    }

    /// How long to wait for another who computes, if the call is serialized.
    #[must_use]
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.wait = Some(wait.into());
        self
    }

    /// What is known of the run: task version, execution, node, attempt.
    #[must_use]
    pub fn run(mut self, run: RunClaim) -> Self {
        self.run = Some(run);
        self
    }

    /// The project in place of the task's.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// The domain in place of the task's.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// The cache version in place of the task's.
    #[must_use]
    pub fn cache_version(mut self, version: impl Into<String>) -> Self {
        self.cache_version = Some(version.into());
        self
    }

    /// What the declaration says of `enabled`, `overwrite` and `read_only`.
    #[doc(hidden)]
    #[must_use]
    pub const fn declared(mut self, enabled: bool, overwrite: bool, read_only: bool) -> Self {
        self.allowed = Mode::of(enabled && !overwrite, enabled && !read_only);
        self
    }

    /// The same for a call that says otherwise.
    pub(super) fn unless(self, call: &Self) -> Self {
        let call = call.clone();
        Self {
            client: call.client.or(self.client),
            #[cfg(feature = "tokio")]
            async_client: call.async_client.or(self.async_client),
            project: call.project.or(self.project),
            domain: call.domain.or(self.domain),
            cache_version: call.cache_version.or(self.cache_version),
            mode: call.mode.or(self.mode),
            allowed: self.allowed,
            serialize: call.serialize.or(self.serialize),
            wait: call.wait.or(self.wait),
            max_age: call.max_age.or(self.max_age),
            run: call.run.or(self.run),
        }
    }

    /// What is read and written with a client of this mode.
    pub(super) fn mode_with(&self, client: Mode) -> Mode {
        self.mode.unwrap_or(self.allowed.and(client))
    }

    /// The same for the client, in this mode.
    pub(super) fn memoize(&self, mode: Mode) -> MemoizeOptions {
        MemoizeOptions {
            mode: Some(mode),
            max_age: self.max_age,
            run: self.run.clone().unwrap_or_default(),
            serialize: self.serialize.unwrap_or(false),
            wait: self.wait.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_more_than_its_task_and_a_task_no_more_than_its_client() {
        use Mode::{Disabled, Enabled, Overwrite, ReadOnly};
        let declared = |enabled, overwrite, read_only| {
            TaskOptions::new().declared(enabled, overwrite, read_only)
        };
        for (task, client, mode) in [
            (declared(true, false, false), Enabled, Enabled),
            (declared(true, true, false), Enabled, Overwrite),
            (declared(true, false, true), Enabled, ReadOnly),
            (declared(false, false, false), Enabled, Disabled),
            (declared(false, true, false), Enabled, Disabled),
            (declared(true, true, true), Enabled, Disabled),
            (declared(true, false, false), Disabled, Disabled),
            (declared(true, true, false), Disabled, Disabled),
            (declared(true, true, false), ReadOnly, Disabled),
            (declared(true, false, true), ReadOnly, ReadOnly),
            (declared(true, false, false), Overwrite, Overwrite),
        ] {
            assert_eq!(task.mode_with(client), mode, "{task:?} with {client:?}");
            let call = TaskOptions::new().mode(Enabled);
            assert_eq!(task.unless(&call).mode_with(client), Enabled);
        }
    }

    #[test]
    fn what_a_call_does_not_say_is_as_declared() {
        let declared = TaskOptions::new().serialize(true).max_age(Duration::from_secs(1));
        let call = TaskOptions::new().max_age(Duration::from_secs(2)).wait(Duration::from_secs(3));
        let both = declared.clone().unless(&call).memoize(Mode::Enabled);
        assert!(both.serialize);
        assert_eq!(both.max_age, Some(Duration::from_secs(2)));
        assert_eq!(both.wait, Wait::AtMost(Duration::from_secs(3)));
        let neither = declared.unless(&TaskOptions::new()).memoize(Mode::Enabled);
        assert_eq!((neither.max_age, neither.wait), (Some(Duration::from_secs(1)), Wait::Forever));
    }
}
