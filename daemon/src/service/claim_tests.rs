//! What comes between a claim's lookup and its place in the lease table, and clocks that are set.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use memod_protocol::{Digest, Lookup, NamedOwner, RunClaim, Scope};
use memod_store::{NewEntry, Options, Replace, Store};
use tempfile::TempDir;

use super::super::clock;
use super::*;
use crate::grants::{self, Right, Rights, ScopeGlob};
use crate::service::Boards;
use crate::settings::Settings;

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

fn service() -> (TempDir, Arc<Service>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&Options::new(folder.path())).expect("opened");
    (folder, Service::new(Arc::new(Settings::default()), store, Boards::new(0, 0, 0)))
}

fn peer() -> Arc<Peer> {
    Arc::new(Peer { uid: 7, groups: [].into(), pid: Some(8), program: None })
}

fn call() -> CallIdentity {
    CallIdentity {
        scope: Scope::new("p", "d"),
        task: "t".to_owned(),
        cache_version: "1".to_owned(),
        signature: Digest::of(b"signature"),
        inputs: Vec::new(),
    }
}

fn asker(service: &Service, owner: Option<NamedOwner>) -> Asker {
    let lookup = Lookup { call: call(), max_age_ms: None };
    let wanted = Wanted::new(&lookup).expect("a good call");
    let claim = Box::new(Claim { lookup, take: true, owner, wait_ms: None });
    Asker { wanted, claim, peer: peer(), lessee: service.connect(), deadline: None }
}

/// Stores an entry without a word to the lease table, as if its commit were just being told.
async fn store(service: &Service, created_at_ms: u64) {
    let entry = NewEntry {
        key: call().key(),
        identity: call(),
        interface: memod_protocol::InterfaceText::default(),
        outputs: Vec::new(),
        provenance: memod_protocol::Provenance {
            writer_uid: 7,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms,
            run: RunClaim::default(),
        },
        replace: Replace::Always,
        apart: false,
    };
    service.commit(|store, done| store.put(entry, done)).await.expect("stored");
}

fn is_hit(claimed: &Claimed) -> bool {
    matches!(claimed, Claimed::Answer(reply) if matches!(reply.response, Response::Hit(_)))
}

#[tokio::test]
async fn semantics_26_an_entry_that_came_before_the_grant_is_a_hit_and_leaves_no_lease() {
    let (_folder, service) = service();
    let named = NamedOwner { name: "n".to_owned(), heartbeat_ms: 1000 };
    for owner in [None, Some(named)] {
        // The lookup before this missed.
        store(&service, clock::now_ms()).await;
        let claimed = service.entered(service.enter(asker(&service, owner))).await;
        assert!(is_hit(&claimed), "{claimed:?}");
        assert_eq!(service.leases.counts(), (0, 0));
    }
}

#[tokio::test]
async fn semantics_27_an_entry_that_came_before_the_wait_is_a_hit_and_nobody_waits() {
    let (_folder, service) = service();
    let owner = service.claim(asker(&service, None)).await;
    assert!(matches!(&owner, Claimed::Answer(reply)
        if matches!(reply.response, Response::Leased(_))));
    store(&service, clock::now_ms()).await;
    let claimed = service.entered(service.enter(asker(&service, None))).await;
    assert!(is_hit(&claimed), "{claimed:?}");
    assert_eq!(service.leases.counts(), (1, 0));
}

/// What user 7 may do from now on.
fn grant(service: &Service, right: Option<Right>) {
    let rights = right.map_or(Rights::default(), |right| Rights::default().with(right));
    let scopes = vec![ScopeGlob::everything()];
    let grants = vec![grants::Grant { users: vec![7], rights, scopes, ..grants::Grant::default() }];
    service.set_settings(Arc::new(Settings { grants, ..Settings::default() }));
}

/// A claim that waits for another's.
async fn waiting(service: &Arc<Service>) -> (Asker, Waiting) {
    let owner = asker(service, None);
    let lessee = Arc::clone(&owner.lessee);
    let held = service.claim(owner).await;
    assert!(matches!(&held, Claimed::Answer(reply)
        if matches!(reply.response, Response::Leased(_))));
    let Claimed::Waits(_, waiting) = service.claim(asker(service, None)).await else {
        panic!("it waits")
    };
    (Asker { lessee, ..asker(service, None) }, *waiting)
}

#[tokio::test]
async fn who_may_not_read_any_longer_does_not_wait_any_longer() {
    let (_folder, service) = service();
    let (_owner, waiting) = waiting(&service).await;
    let mut woken = pin!(service.woken(waiting));
    let polled = poll_fn(|context| Poll::Ready(woken.as_mut().poll(context).is_pending())).await;
    assert!(polled, "it waits");
    // What it may do does not change.
    grant(&service, Some(Right::Lease));
    let polled = poll_fn(|context| Poll::Ready(woken.as_mut().poll(context).is_pending())).await;
    assert!(polled, "it goes on to wait");
    grant(&service, None);
    let claimed = service.resume(woken.await).await;
    let Claimed::Answer(reply) = claimed else { panic!("{claimed:?}") };
    let Response::Miss(miss) = reply.response else { panic!("{:?}", reply.response) };
    assert_eq!(miss.reason, memod_protocol::MissReason::Forbidden);
    assert_eq!(service.leases.counts(), (1, 0), "it has given up its place");
}

#[tokio::test]
async fn who_may_take_no_lease_any_longer_is_not_handed_one() {
    let (_folder, service) = service();
    let (owner, waiting) = waiting(&service).await;
    grant(&service, Some(Right::Read));
    service.disconnect(&owner.lessee);
    let claimed = service.resume(service.woken(waiting).await).await;
    assert!(matches!(&claimed, Claimed::Answer(reply) if reply.is_miss()), "{claimed:?}");
    assert_eq!(service.leases.counts(), (0, 0), "it has been given back");
}

#[tokio::test]
async fn semantics_19_a_clock_that_was_set_back_a_year_makes_nothing_too_old() {
    let (_folder, service) = service();
    store(&service, clock::now_ms() + YEAR_MS).await;
    let lookup = Lookup { call: call(), max_age_ms: Some(1) };
    let reply = service.lookup(&peer(), &lookup).await;
    let Response::Hit(hit) = reply.response else { panic!("{:?}", reply.response) };
    assert_eq!(hit.age_ms, 0);
    store(&service, clock::now_ms() - YEAR_MS).await;
    assert!(service.lookup(&peer(), &lookup).await.is_miss());
}
