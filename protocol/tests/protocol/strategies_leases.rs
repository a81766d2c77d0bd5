//! Arbitrary messages about leases.

use memod_protocol::{
    Claim, Holder, LeaseRow, Leased, NamedOwner, Pending, Release, Request, Reservation, Reserve,
    Response,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategies::{name, perhaps, scope};
use crate::strategies_messages::{identity, key, lookup, miss};

fn owner() -> impl Strategy<Value = NamedOwner> {
    (name(), any::<i64>()).prop_map(|(name, heartbeat_ms)| NamedOwner { name, heartbeat_ms })
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let claim = (lookup(), any::<bool>(), perhaps(owner()), perhaps(any::<u64>()))
        .prop_map(|(lookup, take, owner, wait_ms)| Claim { lookup, take, owner, wait_ms });
    prop_oneof![
        (claim, any::<bool>()).prop_map(|(claim, takes_outputs)| {
            let claim = Box::new(claim);
            if takes_outputs { Request::Claim(claim) } else { Request::Await(claim) }
        }),
        (identity(), owner())
            .prop_map(|(call, owner)| Request::Reserve(Box::new(Reserve { call, owner }))),
        (identity(), perhaps(name()))
            .prop_map(|(call, owner)| Request::Release(Box::new(Release { call, owner }))),
        Just(Request::Leases),
    ]
}

fn holder() -> impl Strategy<Value = Holder> {
    (
        perhaps(name()),
        any::<u32>(),
        perhaps(any::<u32>()),
        perhaps(name()),
        any::<u64>(),
        perhaps(any::<u64>()),
    )
        .prop_map(|(name, uid, pid, program, held_ms, expires_in_ms)| Holder {
            name,
            uid,
            pid,
            program,
            held_ms,
            expires_in_ms,
        })
}

fn row() -> impl Strategy<Value = LeaseRow> {
    (key(), scope(), name(), holder(), any::<u64>()).prop_map(
        |(key, scope, task, holder, waiters)| LeaseRow { key, scope, task, holder, waiters },
    )
}

pub(crate) fn response() -> impl Strategy<Value = Response> {
    let pending = (key(), holder(), any::<bool>()).prop_map(|(key, holder, waiting)| Pending {
        key,
        holder,
        waiting,
    });
    let reservation = (key(), any::<bool>(), holder())
        .prop_map(|(key, acquired, holder)| Reservation { key, acquired, holder });
    prop_oneof![
        (miss(), holder())
            .prop_map(|(miss, holder)| Response::Leased(Box::new(Leased { miss, holder }))),
        pending.prop_map(|pending| Response::Pending(Box::new(pending))),
        reservation.prop_map(|told| Response::Reservation(Box::new(told))),
        any::<bool>().prop_map(|released| Response::Released { released }),
        vec(row(), 0..3).prop_map(Response::Leases),
    ]
}
