//! Messages about leases, with every optional part once there and once absent.

use memod_protocol::{
    CallIdentity, Claim, Holder, LeaseRow, Leased, Lookup, MissReason, NamedOwner, Pending,
    Release, Request, Reservation, Reserve, Response,
};

use crate::samples::{identity, key, miss, scope};

fn owner(heartbeat_ms: i64) -> NamedOwner {
    NamedOwner { name: "nightly".into(), heartbeat_ms }
}

/// A claim in which everything is there.
fn claim() -> Claim {
    Claim {
        lookup: Lookup { call: identity(), max_age_ms: Some(60_000) },
        take: true,
        owner: Some(owner(10_000)),
        wait_ms: Some(30_000),
    }
}

fn bare_claim(take: bool, wait_ms: Option<u64>) -> Request {
    let lookup = Lookup { call: identity(), max_age_ms: None };
    Request::Claim(Box::new(Claim { lookup, take, owner: None, wait_ms }))
}

fn reserve(heartbeat_ms: i64) -> Request {
    Request::Reserve(Box::new(Reserve { call: identity(), owner: owner(heartbeat_ms) }))
}

fn release(call: CallIdentity, owner: Option<&str>) -> Request {
    Request::Release(Box::new(Release { call, owner: owner.map(str::to_owned) }))
}

/// Requests by name; the part in front of the first full stop is the variant.
pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let least = CallIdentity { inputs: Vec::new(), ..identity() };
    vec![
        ("Claim", Request::Claim(Box::new(claim()))),
        ("Claim.take", bare_claim(true, None)),
        ("Claim.watch", bare_claim(false, Some(u64::MAX))),
        ("Claim.no_wait", bare_claim(true, Some(0))),
        ("Await", Request::Await(Box::new(claim()))),
        ("Reserve", reserve(10_000)),
        ("Reserve.longest", reserve(i64::MAX)),
        ("Reserve.negative", reserve(-1)),
        ("Reserve.most_negative", reserve(i64::MIN)),
        ("Release", release(identity(), Some("nightly"))),
        ("Release.connection", release(least, None)),
        ("Leases", Request::Leases),
    ]
}

fn connection() -> Holder {
    Holder {
        name: None,
        uid: 1000,
        pid: Some(4242),
        program: Some("python3.13".into()),
        held_ms: 1500,
        expires_in_ms: None,
    }
}

fn named() -> Holder {
    Holder {
        name: Some("nightly".into()),
        uid: 0,
        pid: None,
        program: None,
        held_ms: 0,
        expires_in_ms: Some(30_000),
    }
}

fn leased(holder: Holder) -> Response {
    Response::Leased(Box::new(Leased { miss: miss(MissReason::NeverSeen), holder }))
}

fn pending(holder: Holder, waiting: bool) -> Response {
    Response::Pending(Box::new(Pending { key: key(0x4b), holder, waiting }))
}

fn reservation(holder: Holder, acquired: bool) -> Response {
    Response::Reservation(Box::new(Reservation { key: key(0x4b), acquired, holder }))
}

fn row(holder: Holder, waiters: u64) -> LeaseRow {
    LeaseRow { key: key(0x4b), scope: scope(), task: "square".into(), holder, waiters }
}

/// Responses by name; the part in front of the first full stop is the variant.
pub(crate) fn responses() -> Vec<(&'static str, Response)> {
    vec![
        ("Leased", leased(connection())),
        ("Leased.named", leased(named())),
        ("Pending", pending(connection(), true)),
        ("Pending.named", pending(named(), true)),
        ("Pending.last", pending(connection(), false)),
        ("Reservation", reservation(named(), true)),
        ("Reservation.not_acquired", reservation(connection(), false)),
        ("Released", Response::Released { released: true }),
        ("Released.nothing", Response::Released { released: false }),
        ("Leases", Response::Leases(vec![row(connection(), 251), row(named(), 0)])),
        ("Leases.none", Response::Leases(Vec::new())),
    ]
}
