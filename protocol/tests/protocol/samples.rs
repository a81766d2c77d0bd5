//! One message of every kind, with every optional part once there and once absent. Those about
//! leases and those that report stand in modules of their own.

use memod_protocol::handshake::{
    ANNOUNCE, BATCHES, CAPABILITIES, DESCRIPTORS, Hello, MAGIC, VERSIONS, Welcome, agree,
};
use memod_protocol::{
    CallIdentity, Delivery, Digest, EntryDetail, EntryRow, ErrorCode, Filter, Hit, InterfaceText,
    Key, Lookup, Miss, MissReason, NewOutput, Output, OutputSource, Provenance, Put, PutOutcome,
    Request, Response, RunClaim, Scope, Selector, Stats, Status, TaskStats, WireError,
};

use crate::{samples_batches, samples_leases, samples_reports, samples_upkeep};

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub(crate) fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

pub(crate) fn scope() -> Scope {
    Scope::new("flytesnacks", "development")
}

pub(crate) fn identity() -> CallIdentity {
    CallIdentity {
        scope: scope(),
        task: "square".into(),
        cache_version: "1.0.0".into(),
        signature: digest(0x51),
        inputs: vec![("n".into(), digest(0x1a)), ("rate".into(), digest(0x1b))],
    }
}

pub(crate) fn interface() -> InterfaceText {
    InterfaceText {
        inputs: vec![("n".into(), "integer".into()), ("rate".into(), "optional<float>".into())],
        outputs: vec![("o0".into(), "integer".into()), ("plot".into(), "file".into())],
    }
}

fn run() -> RunClaim {
    RunClaim {
        compute_ns: Some(2_000_000_000),
        task_version: Some("3f2c".into()),
        execution: Some("f7d1".into()),
        node: Some("n0".into()),
        attempt: Some(1),
    }
}

fn filter() -> Filter {
    Filter {
        scope: Some(scope()),
        task: Some("square".into()),
        cache_version: Some("1.0.0".into()),
        writer_uid: Some(1000),
        older_than_ms: Some(86_400_000),
    }
}

pub(crate) fn put() -> Put {
    let outputs = vec![
        NewOutput {
            name: "o0".into(),
            bytes: 9,
            digest: Some(digest(0xd0)),
            source: OutputSource::Inline,
        },
        NewOutput {
            name: "plot".into(),
            bytes: 70_000_000_000,
            digest: None,
            source: OutputSource::Upload(7),
        },
    ];
    Put {
        call: identity(),
        interface: interface(),
        outputs,
        overwrite: true,
        max_age_ms: Some(0),
        run: run(),
    }
}

/// Requests by name; the part in front of the first full stop is the variant.
pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let selector = |selector, dry_run| Request::Invalidate { selector, dry_run };
    let mut requests = vec![
        ("Lookup", Request::Lookup(Lookup { call: identity(), max_age_ms: None })),
        ("Lookup.max_age", Request::Lookup(Lookup { call: identity(), max_age_ms: Some(60_000) })),
        ("Put", Request::Put(Box::new(put()))),
        (
            "Put.least",
            Request::Put(Box::new(Put {
                call: CallIdentity { inputs: Vec::new(), ..identity() },
                interface: InterfaceText::default(),
                outputs: Vec::new(),
                overwrite: false,
                max_age_ms: None,
                run: RunClaim::default(),
            })),
        ),
        ("UploadData", Request::UploadData { upload: 7 }),
        ("UploadEnd", Request::UploadEnd { upload: 7, digest: Some(digest(0xd1)) }),
        ("UploadFile", Request::UploadFile { upload: 7, digest: Some(digest(0xd1)) }),
        ("UploadFile.no_digest", Request::UploadFile { upload: 0, digest: None }),
        ("UploadEnd.no_digest", Request::UploadEnd { upload: u32::MAX, digest: None }),
        ("UploadAbort", Request::UploadAbort { upload: 251 }),
        ("Show", Request::Show { key: key(0x4b) }),
        ("Read", Request::Read { key: key(0x4b), output: "o0".into() }),
        ("List", Request::List { filter: filter(), limit: 1000, cursor: Some(vec![1, 2, 255]) }),
        ("List.all", Request::List { filter: Filter::default(), limit: 250, cursor: None }),
        ("Invalidate.keys", selector(Selector::Keys(vec![key(0x4b), key(0x4c)]), false)),
        ("Invalidate.matching", selector(Selector::Matching(filter()), true)),
        ("Invalidate.everything", selector(Selector::Matching(Filter::default()), false)),
        ("Stats", Request::Stats),
        ("Status", Request::Status),
        ("Ping", Request::Ping),
    ];
    requests.extend(samples_leases::requests());
    requests.extend(samples_reports::requests());
    requests.extend(samples_upkeep::requests());
    requests.extend(samples_batches::requests());
    requests
}

pub(crate) fn provenance() -> Provenance {
    Provenance {
        writer_uid: 1000,
        writer_pid: Some(4242),
        program: Some("python3.13".into()),
        host: Some("build-7".into()),
        created_at_ms: 1_795_335_330_123,
        run: run(),
    }
}

fn bare_provenance() -> Provenance {
    Provenance {
        writer_uid: 0,
        writer_pid: None,
        program: None,
        host: None,
        created_at_ms: 0,
        run: RunClaim::default(),
    }
}

fn output(name: &str, delivery: Delivery) -> Output {
    Output {
        name: name.into(),
        literal_type: "integer".into(),
        digest: digest(0xd0),
        bytes: 9,
        delivery,
    }
}

pub(crate) fn hit() -> Hit {
    Hit {
        key: key(0x4b),
        age_ms: 65_536,
        outputs: vec![
            output("a", Delivery::Inline),
            output("b", Delivery::Stream),
            output("c", Delivery::Withheld),
        ],
        provenance: provenance(),
    }
}

pub(crate) fn miss(reason: MissReason) -> Miss {
    Miss { key: key(0x4b), reason, at_ms: None, by_uid: None, detail: None }
}

fn stats() -> Stats {
    Stats {
        hits: 1,
        misses: 2,
        puts: 3,
        entries: 4,
        blobs: 5,
        stored_bytes: 6,
        logical_bytes: 7,
        evicted_entries: 8,
        leases: 9,
        waiters: 10,
        connections: 11,
        time_saved_ns: 12,
        uptime_ns: u64::MAX,
        by_task: vec![TaskStats {
            scope: scope(),
            task: "square".into(),
            hits: 250,
            misses: 251,
            time_saved_ns: 65_536,
        }],
        misses_by_reason: vec![(MissReason::NeverSeen, 1), (MissReason::Evicted, 1)],
    }
}

fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        protocol: 1,
        pid: 77,
        uid: 1000,
        socket: "/run/memod/memod.sock".into(),
        data: "/var/lib/memod".into(),
        store_id: "6d656d6f".into(),
        store_format: 1,
        started_at_ms: 1_795_335_330_123,
        settings: vec![("durability".into(), "process".into(), "default".into())],
    }
}

fn detail() -> EntryDetail {
    EntryDetail {
        key: key(0x4b),
        scope: scope(),
        task: "square".into(),
        cache_version: "1.0.0".into(),
        signature: digest(0x51),
        interface: interface(),
        inputs: identity().inputs,
        outputs: vec![output("o0", Delivery::Withheld)],
        provenance: provenance(),
        age_ms: 1,
    }
}

fn row() -> EntryRow {
    EntryRow {
        key: key(0x4b),
        scope: scope(),
        task: "square".into(),
        cache_version: "1.0.0".into(),
        created_at_ms: 1_795_335_330_123,
        compute_ns: Some(2_000_000_000),
        writer_uid: 1000,
        outputs: 1,
        bytes: 9,
    }
}

/// Every reason of a miss, in the order of the wire.
pub(crate) const MISS_REASONS: [MissReason; 8] = [
    MissReason::NeverSeen,
    MissReason::Evicted,
    MissReason::Expired,
    MissReason::Invalidated,
    MissReason::Corrupt,
    MissReason::BlobMissing,
    MissReason::Forbidden,
    MissReason::Disabled,
];

/// Every error code, in the order of the wire.
pub(crate) const ERROR_CODES: [ErrorCode; 10] = [
    ErrorCode::InvalidArgument,
    ErrorCode::Malformed,
    ErrorCode::VersionMismatch,
    ErrorCode::Forbidden,
    ErrorCode::OverBudget,
    ErrorCode::Busy,
    ErrorCode::ShuttingDown,
    ErrorCode::NotFound,
    ErrorCode::DigestMismatch,
    ErrorCode::Internal,
];

/// Responses by name; the part in front of the first full stop is the variant.
pub(crate) fn responses() -> Vec<(String, Response)> {
    let miss_told = Miss {
        at_ms: Some(1_795_335_330_123),
        by_uid: Some(1000),
        detail: Some("to make room".into()),
        ..miss(MissReason::Evicted)
    };
    let least = Hit { outputs: Vec::new(), provenance: bare_provenance(), ..hit() };
    let outputs = vec![output("a", Delivery::Sealed), output("b", Delivery::Inline)];
    let sealed = Hit { outputs, provenance: bare_provenance(), ..hit() };
    let mut responses: Vec<(String, Response)> = [
        ("Hit", Response::Hit(Box::new(hit()))),
        ("Hit.least", Response::Hit(Box::new(least))),
        ("Hit.sealed", Response::Hit(Box::new(sealed))),
        ("Miss", Response::Miss(miss_told)),
        ("Put.populated", Response::Put(PutOutcome::Populated)),
        ("Put.exists", Response::Put(PutOutcome::Exists(provenance()))),
        ("Uploaded", Response::Uploaded { digest: digest(0xd1), bytes: 70_000_000_000 }),
        ("Chunk", Response::Chunk { output: 1, offset: 1_048_576 }),
        ("Shown", Response::Shown(Box::new(detail()))),
        ("Listed", Response::Listed { rows: vec![row()], cursor: Some(vec![0; 3]) }),
        ("Listed.nothing", Response::Listed { rows: Vec::new(), cursor: None }),
        ("Progress", Response::Progress { done: 1000 }),
        ("Invalidated", Response::Invalidated { matched: 251 }),
        ("Stats", Response::Stats(Box::new(stats()))),
        ("Stats.none", Response::Stats(Box::default())),
        ("Status", Response::Status(Box::new(status()))),
        ("Pong", Response::Pong),
    ]
    .into_iter()
    .map(|(name, response)| (name.to_owned(), response))
    .collect();
    responses.extend(
        MISS_REASONS
            .map(|reason| (format!("Miss.{}", reason.name()), Response::Miss(miss(reason)))),
    );
    responses.extend(ERROR_CODES.map(|code| {
        let error = WireError::new(code, "project: must not be empty");
        (format!("Error.{}", code.name()), Response::Error(error))
    }));
    responses.push((
        "Error.with_hint".into(),
        Response::Error(WireError::new(ErrorCode::Busy, "busy").with_hint("try again")),
    ));
    let leases = samples_leases::responses().into_iter();
    responses.extend(leases.map(|(name, response)| (name.to_owned(), response)));
    responses.extend(samples_reports::responses());
    let upkeep = samples_upkeep::responses().into_iter().chain(samples_batches::responses());
    responses.extend(upkeep.map(|(name, response)| (name.to_owned(), response)));
    responses
}

pub(crate) fn hello() -> Hello {
    Hello::new("memo 0.1.0")
}

/// Answers to a greeting by name.
pub(crate) fn welcomes() -> Vec<(&'static str, Welcome)> {
    let newer = Hello { versions: vec![9, 8], ..hello() };
    let refused = Welcome::Refused {
        magic: MAGIC,
        versions: VERSIONS.to_vec(),
        error: agree(&newer, "memod 0.1.0").unwrap_err(),
    };
    let agreed = Welcome::Agreed(agree(&hello(), "memod 0.1.0").unwrap());
    let able = |to: u64| {
        let hello = hello().with_capabilities(to);
        Welcome::Agreed(agree(&hello, "memod 0.1.0").unwrap())
    };
    vec![
        ("Agreed", agreed),
        ("Agreed.capable", able(DESCRIPTORS | ANNOUNCE)),
        ("Agreed.batches", able(DESCRIPTORS | ANNOUNCE | BATCHES)),
        ("Agreed.oversight", able(CAPABILITIES)),
        ("Refused", refused),
    ]
}
