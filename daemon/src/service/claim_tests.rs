//! What comes between a claim's lookup and its place in the lease table, and clocks that are set.

use memod_protocol::{Digest, Lookup, NamedOwner, RunClaim, Scope};
use memod_store::{NewEntry, Options, Replace, Store};
use tempfile::TempDir;

use super::super::clock;
use super::*;
use crate::service::Boards;
use crate::settings::Settings;

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

fn service() -> (TempDir, Arc<Service>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&Options::new(folder.path())).expect("opened");
    (folder, Service::new(Arc::new(Settings::default()), store, Boards::new(0, 0, 0)))
}

fn peer() -> Arc<Peer> {
    Arc::new(Peer { uid: 7, pid: Some(8), program: None })
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
