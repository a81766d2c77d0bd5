//! Reading the configuration again while the daemon runs.
//!
//! **Invariants.** A configuration with a mistake changes nothing at all, and neither does one that
//! is gone. What cannot change while the daemon runs is told and stays.

use std::sync::Arc;

use sd_notify::NotifyState;

use crate::args::Arguments;
use crate::config;
use crate::descriptors;
use crate::log::Log;
use crate::service::Service;
use crate::settings::Settings;
use crate::systemd;

/// What is needed to read it again.
#[derive(Debug)]
pub(crate) struct Reload {
    /// The arguments of this process, which win as they did when it started.
    pub(crate) arguments: Arguments,
    /// What is logged.
    pub(crate) log: Log,
}

impl Reload {
    /// Reads it again, and goes over to what it says.
    pub(crate) fn run(&self, service: &Arc<Service>) {
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now().ok());
        systemd::notify(&states);
        self.change(service);
        systemd::notify(&[NotifyState::Ready]);
        service.tell_idle_grants();
    }

    fn change(&self, service: &Service) {
        let now = service.settings();
        let mut wanted = match config::load_again(&self.arguments, now.file.clone()) {
            Ok(wanted) => wanted,
            Err(problems) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                let count = problems.len();
                tracing::error!("nothing has changed: the configuration has {count} mistakes");
                return;
            }
        };
        descriptors::leave_some(&mut wanted);
        let values = |name: &str, of: &Settings| {
            let row = of.table().into_iter().find(|(row, ..)| row == name);
            row.map(|(_, value, _)| value).unwrap_or_default()
        };
        let (settings, fixed) = now.with_live(wanted.clone());
        for name in fixed {
            let (stays, would) = (values(name, &now), values(name, &wanted));
            tracing::warn!(
                "{name} stays {stays:?} until the daemon is started again; the configuration says \
                 {would:?}"
            );
        }
        let changed = settings.table().into_iter().zip(now.table());
        let changed: Vec<String> = changed
            .filter(|((_, wanted, _), (_, given, _))| wanted != given)
            .map(|((name, ..), _)| name)
            .collect();
        self.log.set(&settings);
        service.set_settings(Arc::new(settings));
        tracing::info!(changed = changed.join(" "), "the configuration has been read again");
    }
}
