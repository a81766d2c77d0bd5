//! Messages of many lookups, with every kind of answer.

use memod_protocol::{
    CallIdentity, ErrorCode, Hit, Looked, Lookup, Miss, MissReason, Request, Response, WireError,
};

use crate::samples::{hit, identity, miss};

/// Requests by name; the part in front of the first full stop is the variant.
pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let least = CallIdentity { inputs: Vec::new(), ..identity() };
    let lookups = vec![
        Lookup { call: identity(), max_age_ms: Some(60_000) },
        Lookup { call: least, max_age_ms: None },
    ];
    vec![
        ("LookupMany", Request::LookupMany(lookups)),
        ("LookupMany.none", Request::LookupMany(Vec::new())),
    ]
}

/// Responses by name; the part in front of the first full stop is the variant.
pub(crate) fn responses() -> Vec<(&'static str, Response)> {
    let told = Miss { detail: Some("to make room".into()), ..miss(MissReason::Evicted) };
    let error = WireError::new(ErrorCode::InvalidArgument, "task is empty");
    let least = Hit { outputs: Vec::new(), ..hit() };
    let looked = vec![
        Looked::Hit(Box::new(hit())),
        Looked::Miss(Box::new(told)),
        Looked::Error(Box::new(error)),
        Looked::Hit(Box::new(least)),
        Looked::Apart,
        Looked::Full,
    ];
    vec![
        ("LookedUp", Response::LookedUp(looked)),
        ("LookedUp.none", Response::LookedUp(Vec::new())),
    ]
}
