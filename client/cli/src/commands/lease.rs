//! `memo lease`: leases of named owners, by hand.
//!
//! **Invariants.** Whether the lease is the owner's stands in the exit code and in the status. A
//! mode that does not read asks nobody, one that does not write takes no lease.
//!
//! **Does not** hold a lease by a connection: that would end with this process.

use std::time::Duration;

use memod_client::{CacheStatus, ClaimFound, ClaimOptions, Client, Mode, NamedOwner, Wait};
use memod_protocol::{Call, Holder, Key, Reservation, name};

use super::lookup::tell_status;
use crate::args::duration::milliseconds;
use crate::args::{
    AcquireArgs, CallFlags, ExtendArgs, LeaseArgs, LeaseCommand, ReleaseArgs, Screen, Settings,
};
use crate::connect;
use crate::describe;
use crate::exit::{self, Failure, Outcome};
use crate::output::json::Object;
use crate::output::{holder, units};

/// The status of a lease that is the owner's.
const ACQUIRED: &str = "ACQUIRED";
/// A lease expires after so many heartbeats (semantics 29).
const GRACE: u32 = 3;
/// What may pass of a lease's time before we are told how much there is.
const ANSWER_TIME: Duration = Duration::from_millis(200);

/// Takes, extends or gives back.
///
/// # Errors
/// If the flags describe no call or no owner, or the daemon gives no answer.
pub(crate) fn run(args: LeaseArgs, settings: &Settings) -> Outcome {
    match args.command {
        LeaseCommand::Acquire(args) => acquire(args, settings),
        LeaseCommand::Extend(args) => {
            let (call, owner) = asked(args, settings)?;
            let lease = match settings.mode()? {
                Mode::Enabled => Lease::of(connect::asking(settings).reserve(&call, &owner)?),
                mode => without_taking(mode, &call, &only_looks(None, None), settings)?,
            };
            warn_of_haste(&lease, &owner, settings.screen);
            tell(&lease, settings.screen)
        }
        LeaseCommand::Release(args) => release(&args, settings),
    }
}

/// What came of asking for a lease.
#[derive(Debug, PartialEq, Eq)]
struct Lease {
    status: &'static str,
    key: Key,
    holder: Option<Holder>,
}

impl Lease {
    fn of(reservation: Reservation) -> Self {
        let status = if reservation.acquired { ACQUIRED } else { "EXISTS" };
        Self { status, key: reservation.key, holder: Some(reservation.holder) }
    }
}

fn acquire(args: AcquireArgs, settings: &Settings) -> Outcome {
    let (call, owner) = asked(args.extend, settings)?;
    let options = only_looks(args.wait, args.max_age);
    let lease = match settings.mode()? {
        Mode::Enabled => {
            let client = connect::asking(settings);
            let reservation = client.reserve(&call, &owner)?;
            if reservation.acquired || args.wait.is_none() {
                Lease::of(reservation)
            } else {
                wait_for(&client, &call, &owner, &options)?
            }
        }
        mode => without_taking(mode, &call, &options, settings)?,
    };
    warn_of_haste(&lease, &owner, settings.screen);
    tell(&lease, settings.screen)
}

/// Waits for the lease that another holds.
fn wait_for(
    client: &Client,
    call: &Call,
    owner: &NamedOwner,
    options: &ClaimOptions,
) -> Result<Lease, Failure> {
    let mut options = options.clone();
    (options.take, options.owner) = (true, Some(owner.clone()));
    let lease = match client.await_lease(call, &options)? {
        ClaimFound::Hit(hit) => Lease { status: "HIT", key: hit.key, holder: None },
        ClaimFound::Pending(pending) => {
            Lease { status: "EXISTS", key: pending.key, holder: Some(pending.holder) }
        }
        // Asked again, it says who holds it now, and the time begins anew.
        ClaimFound::Leased(_) | ClaimFound::Miss(_) => Lease::of(client.reserve(call, owner)?),
    };
    Ok(lease)
}

/// A claim that takes nothing.
fn only_looks(wait: Option<Duration>, max_age: Option<Duration>) -> ClaimOptions {
    let wait = wait.map_or(Wait::No, connect::wait);
    ClaimOptions { max_age, take: false, owner: None, wait }
}

/// What is said of a lease in a mode that takes none (semantics 18 and 23).
fn without_taking(
    mode: Mode,
    call: &Call,
    options: &ClaimOptions,
    settings: &Settings,
) -> Result<Lease, Failure> {
    let disabled = |key| Lease { status: CacheStatus::Disabled.name(), key, holder: None };
    if !mode.reads() {
        return Ok(disabled(call.key()?));
    }
    let found = connect::asking(settings).await_lease(call, options)?;
    Ok(match found {
        ClaimFound::Hit(hit) => Lease { status: "HIT", key: hit.key, holder: None },
        ClaimFound::Pending(pending) => {
            Lease { status: "EXISTS", key: pending.key, holder: Some(pending.holder) }
        }
        ClaimFound::Miss(miss) => disabled(miss.key),
        // Nobody has asked for it, so it goes back at once.
        ClaimFound::Leased(lease) => disabled(lease.key()),
    })
}

fn release(args: &ReleaseArgs, settings: &Settings) -> Outcome {
    let call = described(&args.call, settings)?;
    name::owner(&args.owner)?;
    if settings.mode()? == Mode::Disabled {
        tell_status(CacheStatus::Disabled.name(), &call.key()?, settings.screen)?;
        return Ok(exit::DONE);
    }
    let key = call.key()?.to_string();
    let released = connect::asking(settings).release(&call, &args.owner)?;
    let status = if released { "RELEASED" } else { "NOT_HELD" };
    if settings.screen.is_json() {
        let answer =
            Object::default().with("status", status).with("key", key).with("released", released);
        Screen::json(&answer.into())?;
    } else {
        settings.screen.fields(&[("status", status.to_owned()), ("key", key)])?;
    }
    Ok(exit::DONE)
}

fn asked(args: ExtendArgs, settings: &Settings) -> Result<(Call, NamedOwner), Failure> {
    let call = described(&args.call, settings)?;
    Ok((call, owner(args.owner, args.heartbeat)?))
}

fn described(flags: &CallFlags, settings: &Settings) -> Result<Call, Failure> {
    let call = describe::call(flags, &settings.scope)?;
    describe::warn_of_strangers(&call, settings.screen);
    Ok(call)
}

/// The owner. A heartbeat that is too long for the protocol is as long as the protocol allows: the
/// daemon bounds it in any case.
fn owner(name: String, heartbeat: Duration) -> Result<NamedOwner, Failure> {
    let heartbeat_ms = i64::try_from(milliseconds(heartbeat)).unwrap_or(i64::MAX);
    let owner = NamedOwner { name, heartbeat_ms };
    owner.check()?;
    Ok(owner)
}

/// Warns who has got a lease that expires sooner than after three of the owner's heartbeats.
fn warn_of_haste(lease: &Lease, owner: &NamedOwner, screen: Screen) {
    if let Some(expires_in) = hasty(lease, owner) {
        screen.warn(&format!(
            "the daemon lets it expire in {}: extend it more often (lease_heartbeat_max in \
             `memo status -v`)",
            units::about(expires_in)
        ));
    }
}

/// When the lease expires, if that is sooner than was asked for.
fn hasty(lease: &Lease, owner: &NamedOwner) -> Option<Duration> {
    let holder = lease.holder.as_ref().filter(|_| lease.status == ACQUIRED)?;
    let expires_in = Duration::from_millis(holder.expires_in_ms?);
    let heartbeat = Duration::from_millis(u64::try_from(owner.heartbeat_ms).ok()?);
    let asked = heartbeat.saturating_mul(GRACE);
    (expires_in.saturating_add(ANSWER_TIME) < asked).then_some(expires_in)
}

fn tell(lease: &Lease, screen: Screen) -> Outcome {
    let key = lease.key.to_string();
    if screen.is_json() {
        let answer = Object::default()
            .with("status", lease.status)
            .with("key", key)
            .with_known("holder", lease.holder.as_ref().map(holder::as_json));
        Screen::json(&answer.into())?;
    } else {
        let mut fields = vec![("status", lease.status.to_owned()), ("key", key)];
        fields.extend(lease.holder.as_ref().map(|of| ("holder", holder::phrase(of))));
        screen.fields(&fields)?;
    }
    Ok(if lease.status == ACQUIRED { exit::DONE } else { exit::NOTHING })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantics_29_a_heartbeat_of_any_length_is_one() {
        let heartbeat_ms = |heartbeat| owner("o".into(), heartbeat).expect("valid").heartbeat_ms;
        assert_eq!(heartbeat_ms(Duration::from_secs(10)), 10_000);
        assert_eq!(heartbeat_ms(Duration::from_nanos(1)), 1);
        assert_eq!(heartbeat_ms(Duration::from_secs(10_u64.pow(18))), i64::MAX);
    }

    #[test]
    fn semantics_30_an_owner_has_a_name() {
        let failure = owner(String::new(), Duration::from_secs(1)).expect_err("it is empty");
        assert_eq!(failure.exit, exit::USAGE);
        assert!(failure.message.contains("owner"), "{failure}");
    }

    fn lease(acquired: bool, expires_in_ms: u64) -> Lease {
        let holder = Holder {
            name: Some("o".into()),
            uid: 7,
            pid: None,
            program: None,
            held_ms: 0,
            expires_in_ms: Some(expires_in_ms),
        };
        Lease::of(Reservation { key: Key::from_bytes([0; 32]), acquired, holder })
    }

    #[test]
    fn who_asked_is_told_by_the_status() {
        assert_eq!((lease(true, 1).status, lease(false, 1).status), ("ACQUIRED", "EXISTS"));
    }

    #[test]
    fn semantics_29_a_heartbeat_that_the_daemon_bounds_is_told() {
        let hasty =
            |lease: Lease, heartbeat| hasty(&lease, &owner("o".into(), heartbeat).expect("valid"));
        let (short, long) = (Duration::from_secs(10), Duration::from_secs(60));
        assert_eq!(hasty(lease(true, 30_000), short), None);
        assert_eq!(hasty(lease(true, 29_900), short), None, "a moment has passed");
        assert_eq!(hasty(lease(true, 30_000), long), Some(Duration::from_secs(30)));
        assert_eq!(hasty(lease(true, 30_000), Duration::MAX), Some(Duration::from_secs(30)));
        assert_eq!(hasty(lease(false, 30_000), long), None, "it is another's");
    }
}
