//! Arbitrary messages. Those about leases and those that report stand in modules of their own.

use memod_protocol::handshake::{Agreement, Hello, MAGIC, PeerLimits, Welcome};
use memod_protocol::{
    CallIdentity, Delivery, EntryDetail, EntryRow, Filter, Hit, InterfaceText, Key, Looked, Lookup,
    Miss, NewOutput, Output, OutputSource, Provenance, Put, PutOutcome, Request, Response,
    RunClaim, Selector, Stats, Status, TaskStats, WireError,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::samples::{ERROR_CODES, MISS_REASONS};
use crate::strategies::{digest, name, perhaps, scope};
use crate::{strategies_leases, strategies_reports, strategies_upkeep};

pub(crate) fn key() -> impl Strategy<Value = Key> {
    any::<[u8; 32]>().prop_map(Key::from_bytes)
}

pub(crate) fn identity() -> impl Strategy<Value = CallIdentity> {
    (scope(), name(), name(), digest(), vec((name(), digest()), 0..4)).prop_map(
        |(scope, task, cache_version, signature, inputs)| CallIdentity {
            scope,
            task,
            cache_version,
            signature,
            inputs,
        },
    )
}

pub(crate) fn interface() -> impl Strategy<Value = InterfaceText> {
    let members = || vec((name(), name()), 0..3);
    (members(), members()).prop_map(|(inputs, outputs)| InterfaceText { inputs, outputs })
}

fn run() -> impl Strategy<Value = RunClaim> {
    let text = || perhaps(name());
    (perhaps(any::<u64>()), text(), text(), text(), perhaps(any::<u32>())).prop_map(
        |(compute_ns, task_version, execution, node, attempt)| RunClaim {
            compute_ns,
            task_version,
            execution,
            node,
            attempt,
        },
    )
}

fn new_output() -> impl Strategy<Value = NewOutput> {
    let source = perhaps(any::<u32>())
        .prop_map(|upload| upload.map_or(OutputSource::Inline, OutputSource::Upload));
    (name(), any::<u64>(), perhaps(digest()), source)
        .prop_map(|(name, bytes, digest, source)| NewOutput { name, bytes, digest, source })
}

pub(crate) fn put() -> impl Strategy<Value = Put> {
    (identity(), interface(), vec(new_output(), 0..3), any::<bool>(), perhaps(any::<u64>()), run())
        .prop_map(|(call, interface, outputs, overwrite, max_age_ms, run)| Put {
            call,
            interface,
            outputs,
            overwrite,
            max_age_ms,
            run,
        })
}

fn filter() -> impl Strategy<Value = Filter> {
    (
        perhaps(scope()),
        perhaps(name()),
        perhaps(name()),
        perhaps(any::<u32>()),
        perhaps(any::<u64>()),
    )
        .prop_map(|(scope, task, cache_version, writer_uid, older_than_ms)| Filter {
            scope,
            task,
            cache_version,
            writer_uid,
            older_than_ms,
        })
}

fn cursor() -> impl Strategy<Value = Option<Vec<u8>>> {
    perhaps(vec(any::<u8>(), 0..6))
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![vec(key(), 0..3).prop_map(Selector::Keys), filter().prop_map(Selector::Matching)]
}

pub(crate) fn lookup() -> impl Strategy<Value = Lookup> {
    (identity(), perhaps(any::<u64>())).prop_map(|(call, max_age_ms)| Lookup { call, max_age_ms })
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        3 => strategies_leases::request(),
        3 => strategies_reports::request(),
        4 => strategies_upkeep::request(),
        1 => vec(lookup(), 0..4).prop_map(Request::LookupMany),
        12 => early_request(),
    ]
}

/// The requests that were there from the beginning.
fn early_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        lookup().prop_map(Request::Lookup),
        put().prop_map(|put| Request::Put(Box::new(put))),
        any::<u32>().prop_map(|upload| Request::UploadData { upload }),
        (any::<u32>(), perhaps(digest()))
            .prop_map(|(upload, digest)| Request::UploadEnd { upload, digest }),
        (any::<u32>(), perhaps(digest()))
            .prop_map(|(upload, digest)| Request::UploadFile { upload, digest }),
        any::<u32>().prop_map(|upload| Request::UploadAbort { upload }),
        key().prop_map(|key| Request::Show { key }),
        (key(), name()).prop_map(|(key, output)| Request::Read { key, output }),
        (filter(), any::<u32>(), cursor()).prop_map(|(filter, limit, cursor)| Request::List {
            filter,
            limit,
            cursor
        }),
        (selector(), any::<bool>())
            .prop_map(|(selector, dry_run)| Request::Invalidate { selector, dry_run }),
        Just(Request::Stats),
        Just(Request::Status),
        Just(Request::Ping),
    ]
}

pub(crate) fn provenance() -> impl Strategy<Value = Provenance> {
    (any::<u32>(), perhaps(any::<u32>()), perhaps(name()), perhaps(name()), any::<u64>(), run())
        .prop_map(|(writer_uid, writer_pid, program, host, created_at_ms, run)| Provenance {
            writer_uid,
            writer_pid,
            program,
            host,
            created_at_ms,
            run,
        })
}

fn output() -> impl Strategy<Value = Output> {
    let deliveries = [Delivery::Inline, Delivery::Stream, Delivery::Withheld, Delivery::Sealed];
    let delivery = select(deliveries.to_vec());
    (name(), name(), digest(), any::<u64>(), delivery).prop_map(
        |(name, literal_type, digest, bytes, delivery)| Output {
            name,
            literal_type,
            digest,
            bytes,
            delivery,
        },
    )
}

fn hit() -> impl Strategy<Value = Hit> {
    (key(), any::<u64>(), vec(output(), 0..3), provenance())
        .prop_map(|(key, age_ms, outputs, provenance)| Hit { key, age_ms, outputs, provenance })
}

pub(crate) fn miss() -> impl Strategy<Value = Miss> {
    (
        key(),
        select(MISS_REASONS.to_vec()),
        perhaps(any::<u64>()),
        perhaps(any::<u32>()),
        perhaps(name()),
    )
        .prop_map(|(key, reason, at_ms, by_uid, detail)| Miss {
            key,
            reason,
            at_ms,
            by_uid,
            detail,
        })
}

fn detail() -> impl Strategy<Value = EntryDetail> {
    (key(), identity(), interface(), vec(output(), 0..3), provenance(), any::<u64>()).prop_map(
        |(key, call, interface, outputs, provenance, age_ms)| EntryDetail {
            key,
            scope: call.scope,
            task: call.task,
            cache_version: call.cache_version,
            signature: call.signature,
            interface,
            inputs: call.inputs,
            outputs,
            provenance,
            age_ms,
        },
    )
}

fn row() -> impl Strategy<Value = EntryRow> {
    (
        key(),
        scope(),
        name(),
        name(),
        any::<u64>(),
        perhaps(any::<u64>()),
        any::<u32>(),
        any::<u32>(),
        any::<u64>(),
    )
        .prop_map(
            |(
                key,
                scope,
                task,
                cache_version,
                created_at_ms,
                compute_ns,
                writer_uid,
                outputs,
                bytes,
            )| {
                EntryRow {
                    key,
                    scope,
                    task,
                    cache_version,
                    created_at_ms,
                    compute_ns,
                    writer_uid,
                    outputs,
                    bytes,
                }
            },
        )
}

fn stats() -> impl Strategy<Value = Stats> {
    let by_task = (scope(), name(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(scope, task, hits, misses, time_saved_ns)| TaskStats {
            scope,
            task,
            hits,
            misses,
            time_saved_ns,
        },
    );
    let reasons = vec((select(MISS_REASONS.to_vec()), any::<u64>()), 0..3);
    (any::<[u64; 13]>(), vec(by_task, 0..3), reasons).prop_map(
        |(counters, by_task, misses_by_reason)| {
            let [hits, misses, puts, entries, blobs, stored_bytes, logical_bytes, rest @ ..] =
                counters;
            let [evicted_entries, leases, waiters, connections, time_saved_ns, uptime_ns] = rest;
            Stats {
                hits,
                misses,
                puts,
                entries,
                blobs,
                stored_bytes,
                logical_bytes,
                evicted_entries,
                leases,
                waiters,
                connections,
                time_saved_ns,
                uptime_ns,
                by_task,
                misses_by_reason,
            }
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    let texts = (name(), name(), name(), name());
    let numbers = (any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>());
    (texts, numbers, vec((name(), name(), name()), 0..3)).prop_map(|(texts, numbers, settings)| {
        let (version, socket, data, store_id) = texts;
        let (protocol, pid, uid, store_format, started_at_ms) = numbers;
        Status {
            version,
            protocol,
            pid,
            uid,
            socket,
            data,
            store_id,
            store_format,
            started_at_ms,
            settings,
        }
    })
}

fn error() -> impl Strategy<Value = WireError> {
    (select(ERROR_CODES.to_vec()), "\\PC{0,20}", perhaps(name()))
        .prop_map(|(code, message, hint)| WireError { code, message, hint })
}

fn looked() -> impl Strategy<Value = Looked> {
    prop_oneof![
        hit().prop_map(|hit| Looked::Hit(Box::new(hit))),
        miss().prop_map(|miss| Looked::Miss(Box::new(miss))),
        error().prop_map(|error| Looked::Error(Box::new(error))),
        Just(Looked::Full),
        Just(Looked::Apart),
    ]
}

pub(crate) fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        4 => strategies_leases::response(),
        3 => strategies_reports::response(),
        3 => strategies_upkeep::response(),
        1 => vec(looked(), 0..4).prop_map(Response::LookedUp),
        13 => early_response(),
    ]
}

/// The responses that were there from the beginning.
fn early_response() -> impl Strategy<Value = Response> {
    prop_oneof![
        hit().prop_map(|hit| Response::Hit(Box::new(hit))),
        miss().prop_map(Response::Miss),
        perhaps(provenance()).prop_map(|winner| {
            Response::Put(winner.map_or(PutOutcome::Populated, PutOutcome::Exists))
        }),
        (digest(), any::<u64>()).prop_map(|(digest, bytes)| Response::Uploaded { digest, bytes }),
        (any::<u32>(), any::<u64>())
            .prop_map(|(output, offset)| Response::Chunk { output, offset }),
        detail().prop_map(|detail| Response::Shown(Box::new(detail))),
        (vec(row(), 0..3), cursor()).prop_map(|(rows, cursor)| Response::Listed { rows, cursor }),
        any::<u64>().prop_map(|done| Response::Progress { done }),
        any::<u64>().prop_map(|matched| Response::Invalidated { matched }),
        stats().prop_map(|stats| Response::Stats(Box::new(stats))),
        status().prop_map(|status| Response::Status(Box::new(status))),
        Just(Response::Pong),
        error().prop_map(Response::Error),
    ]
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    (any::<[u8; 8]>(), vec(any::<u16>(), 0..5), any::<u64>(), "\\PC{0,20}").prop_map(
        |(magic, versions, capabilities, client)| Hello { magic, versions, capabilities, client },
    )
}

pub(crate) fn welcome() -> impl Strategy<Value = Welcome> {
    let limits =
        (any::<u32>(), any::<u64>(), any::<u32>(), any::<u64>(), any::<u32>(), any::<u32>())
            .prop_map(|numbers| PeerLimits {
                frame_bytes_max: numbers.0,
                inline_bytes_max: numbers.1,
                chunk_bytes: numbers.2,
                blob_bytes_max: numbers.3,
                requests_in_flight_max: numbers.4,
                uploads_open_max: numbers.5,
            });
    let agreement = (any::<u16>(), any::<u64>(), limits, name()).prop_map(
        |(version, capabilities, limits, server)| Agreement {
            magic: MAGIC,
            version,
            capabilities,
            limits,
            server,
        },
    );
    prop_oneof![
        agreement.prop_map(Welcome::Agreed),
        (vec(any::<u16>(), 0..5), error()).prop_map(|(versions, error)| Welcome::Refused {
            magic: MAGIC,
            versions,
            error
        }),
    ]
}
