//! Builds valid calls and messages from bytes.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Result, Unstructured};
use memod_protocol::{
    Call, CallIdentity, Claim, Digest, Import, Interface, InterfaceText, Literal, LiteralType,
    Lookup, NamedOwner, NewOutput, OutputSource, Provenance, Put, Release, Request, RequestHeader,
    Reserve, RunClaim, Scope, Why,
};

/// Deepest type that is built; a value has at most a hash more at each level.
pub const DEPTH_MAX: usize = 6;

fn name(u: &mut Unstructured<'_>) -> Result<String> {
    let text: &str = u.arbitrary()?;
    let short: String = text.chars().take(8).collect();
    Ok(if short.trim().is_empty() { "n".to_owned() } else { short })
}

/// A few of something.
fn few<T>(
    u: &mut Unstructured<'_>,
    mut one: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=3)?;
    (0..count).map(|_| one(u)).collect()
}

fn digest(u: &mut Unstructured<'_>) -> Result<Digest> {
    Ok(Digest::from_bytes(u.arbitrary()?))
}

fn literal_type(u: &mut Unstructured<'_>, depth: usize) -> Result<LiteralType> {
    let inner = |u: &mut Unstructured<'_>| literal_type(u, depth + 1);
    let kinds = if depth < DEPTH_MAX { 15 } else { 8 };
    let of = match u.int_in_range(0..=kinds)? {
        0 => LiteralType::None,
        1 => LiteralType::Boolean,
        2 => LiteralType::Integer,
        3 => LiteralType::Float,
        4 => LiteralType::String,
        5 => LiteralType::Bytes,
        6 => LiteralType::Datetime,
        7 => LiteralType::Duration,
        8 => LiteralType::File,
        9 => LiteralType::List(Box::new(inner(u)?)),
        10 => LiteralType::Map(Box::new(inner(u)?)),
        11 => LiteralType::Struct(few(u, |u| Ok((name(u)?, inner(u)?)))?.into_iter().collect()),
        12 => LiteralType::Enum(few(u, name)?.into_iter().collect()),
        13 => LiteralType::Optional(Box::new(inner(u)?)),
        14 => LiteralType::Union(few(u, inner)?.into_iter().collect()),
        _ => LiteralType::Opaque(name(u)?),
    };
    // Not all that can be built may be declared: the text tells.
    Ok(if of.to_string().parse::<LiteralType>().is_ok() { of } else { LiteralType::Integer })
}

fn literal(u: &mut Unstructured<'_>, of: &LiteralType) -> Result<Literal> {
    if u.ratio(1, 10)? {
        let hash = u.arbitrary::<&str>()?.chars().take(20).collect::<String>();
        let value = u.arbitrary::<bool>()? || hash.is_empty();
        let value = if value { Some(Box::new(plain(u, of)?)) } else { None };
        return Ok(Literal::Hashed { hash, value });
    }
    plain(u, of)
}

fn plain(u: &mut Unstructured<'_>, of: &LiteralType) -> Result<Literal> {
    let bytes = |u: &mut Unstructured<'_>| Ok(u.arbitrary::<Vec<u8>>()?.into());
    Ok(match of {
        LiteralType::None => Literal::None,
        LiteralType::Boolean => Literal::Boolean(u.arbitrary()?),
        LiteralType::Integer => Literal::Integer(u.arbitrary()?),
        LiteralType::Float => Literal::Float(u.arbitrary()?),
        LiteralType::String => Literal::String(u.arbitrary()?),
        LiteralType::Bytes => Literal::Bytes(bytes(u)?),
        LiteralType::Datetime => Literal::Datetime(u.arbitrary()?),
        LiteralType::Duration => Literal::Duration(u.arbitrary()?),
        LiteralType::File => Literal::File { digest: digest(u)?, bytes: u.arbitrary()? },
        LiteralType::List(inner) => Literal::List(few(u, |u| literal(u, inner))?),
        LiteralType::Map(inner) => {
            let members = few(u, |u| Ok((u.arbitrary::<String>()?, literal(u, inner)?)))?;
            Literal::Map(members.into_iter().collect())
        }
        LiteralType::Struct(fields) => {
            let field = |(name, of): (&String, _)| Ok((name.clone(), literal(u, of)?));
            Literal::Struct(fields.iter().map(field).collect::<Result<_>>()?)
        }
        LiteralType::Enum(names) => Literal::Enum(u.choose_iter(names.iter())?.clone()),
        LiteralType::Optional(inner) => {
            if u.arbitrary()? {
                literal(u, inner)?
            } else {
                Literal::None
            }
        }
        LiteralType::Union(members) => {
            let member = u.choose_iter(members.iter())?;
            literal(u, member)?
        }
        LiteralType::Opaque(format) => Literal::Opaque { format: format.clone(), bytes: bytes(u)? },
    })
}

/// A call, nearly always one that has a key.
pub fn call(u: &mut Unstructured<'_>) -> Result<Call> {
    let mut interface = Interface::default();
    let mut inputs = BTreeMap::new();
    let mut ignored = BTreeSet::new();
    for _ in 0..u.int_in_range(0..=3)? {
        let (name, of) = (name(u)?, literal_type(u, 0)?);
        let value = literal(u, &of)?;
        interface.inputs.insert(name.clone(), of);
        inputs.remove(&name);
        match u.int_in_range(0..=9)? {
            0 => {}
            1 => {
                ignored.insert(name);
            }
            _ => {
                inputs.insert(name, value);
            }
        }
    }
    for (name, of) in few(u, |u| Ok((name(u)?, literal_type(u, 0)?)))? {
        interface.outputs.insert(name, of);
    }
    let scope = Scope { project: name(u)?, domain: name(u)? };
    Ok(Call { scope, task: name(u)?, cache_version: name(u)?, interface, inputs, ignored })
}

/// A call that has a key, and what identifies it.
fn identified(u: &mut Unstructured<'_>) -> Result<(Call, CallIdentity)> {
    let call = call(u)?;
    let identity = call.identity().map_err(|_| arbitrary::Error::IncorrectFormat)?;
    Ok((call, identity))
}

/// A put of the outputs of a call, or one that comes from another store.
pub fn put(u: &mut Unstructured<'_>) -> Result<RequestHeader> {
    // Chosen first, so that a call that uses all bytes up is not always put in one way.
    let is_import = u.arbitrary()?;
    let (call, identity) = identified(u)?;
    let output = |u: &mut Unstructured<'_>, name: &String| {
        let source = match u.arbitrary::<Option<u32>>()? {
            Some(upload) => OutputSource::Upload(upload),
            None => OutputSource::Inline,
        };
        let digest = if u.arbitrary()? { Some(digest(u)?) } else { None };
        Ok(NewOutput { name: name.clone(), bytes: u.arbitrary()?, digest, source })
    };
    let outputs =
        call.interface.outputs.keys().map(|name| output(u, name)).collect::<Result<_>>()?;
    let run = run(u)?;
    let put = Put {
        call: identity,
        interface: InterfaceText::from(&call.interface),
        outputs,
        overwrite: u.arbitrary()?,
        max_age_ms: u.arbitrary()?,
        run,
    };
    let request = if is_import {
        Request::Import(Box::new(Import { put, provenance: provenance(u)? }))
    } else {
        Request::Put(Box::new(put))
    };
    Ok(RequestHeader { id: u.arbitrary()?, request })
}

fn run(u: &mut Unstructured<'_>) -> Result<RunClaim> {
    Ok(RunClaim {
        compute_ns: u.arbitrary()?,
        task_version: u.arbitrary()?,
        execution: u.arbitrary()?,
        node: u.arbitrary()?,
        attempt: u.arbitrary()?,
    })
}

fn provenance(u: &mut Unstructured<'_>) -> Result<Provenance> {
    Ok(Provenance {
        writer_uid: u.arbitrary()?,
        writer_pid: u.arbitrary()?,
        program: u.arbitrary()?,
        host: u.arbitrary()?,
        created_at_ms: u.arbitrary()?,
        run: run(u)?,
    })
}

fn owner(u: &mut Unstructured<'_>) -> Result<NamedOwner> {
    Ok(NamedOwner { heartbeat_ms: u.int_in_range(1..=i64::MAX)?, name: name(u)? })
}

/// A claim, a reservation, a release or a question why.
pub fn about_a_call(u: &mut Unstructured<'_>) -> Result<RequestHeader> {
    // Chosen first, so that a call that uses all bytes up is not always asked about in one way.
    let (id, kind) = (u.arbitrary()?, u.int_in_range(0..=3)?);
    let is_named = u.arbitrary()?;
    let max_age_ms = u.arbitrary()?;
    let (take, wait_ms) = (u.arbitrary()?, u.arbitrary()?);
    let owner = owner(u)?;
    let (call, identity) = identified(u)?;
    let named = if is_named { Some(owner.clone()) } else { None };
    let lookup = || Lookup { call: identity.clone(), max_age_ms };
    let request = match kind {
        0 => {
            let claim = Claim { lookup: lookup(), take, owner: named, wait_ms };
            Request::Claim(Box::new(claim))
        }
        1 => Request::Reserve(Box::new(Reserve { call: identity, owner })),
        2 => {
            let owner = named.map(|named| named.name);
            Request::Release(Box::new(Release { call: identity, owner }))
        }
        _ => {
            let interface = InterfaceText::from(&call.interface);
            let why = Why { lookup: lookup(), interface, nearest_max: u.arbitrary()? };
            Request::Why(Box::new(why))
        }
    };
    Ok(RequestHeader { id, request })
}
