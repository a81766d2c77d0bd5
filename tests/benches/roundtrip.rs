//! Round trips beside raw echoes and streams of the same bytes, in one run.
//!
//! Every row is measured in turns with its reference, between the same number of processes: a
//! client (this process; for eight clients eight processes, which are this program again) and a
//! server (memod, or an echo on tokio). Medians are over all rounds; a ratio is the median of the
//! rounds' own ratios, so that a machine that drifts does not move it. A miss where a hit is due
//! ends the run.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark may end in a panic, and its numbers are small"
)]

#[path = "roundtrip/allocators.rs"]
mod allocators;
#[path = "roundtrip/board.rs"]
mod board;
#[path = "roundtrip/echo.rs"]
mod echo;
#[path = "roundtrip/evicting.rs"]
mod evicting;
#[path = "roundtrip/explaining.rs"]
mod explaining;
#[path = "roundtrip/floor.rs"]
mod floor;
#[path = "roundtrip/large.rs"]
mod large;
#[path = "roundtrip/latency.rs"]
mod latency;
#[path = "roundtrip/leases.rs"]
mod leases;
#[path = "roundtrip/many.rs"]
mod many;
#[path = "roundtrip/measure.rs"]
mod measure;
#[path = "roundtrip/memory.rs"]
mod memory;
#[path = "roundtrip/million.rs"]
mod million;
#[path = "roundtrip/packing.rs"]
mod packing;
#[path = "roundtrip/quiet.rs"]
mod quiet;
#[path = "roundtrip/throughput.rs"]
mod throughput;
#[path = "roundtrip/workers.rs"]
mod workers;

use measure::Report;

/// One theme of the benchmark.
type Part = fn(&mut Report);

fn main() {
    if let Some(socket) = std::env::var_os(echo::SOCKET_VARIABLE) {
        echo::serve(socket.as_ref());
        return;
    }
    if let Some(socket) = std::env::var_os(leases::OWNER_VARIABLE) {
        let round = std::env::args().nth(1).expect("which round");
        return leases::own(socket.as_ref(), &round);
    }
    if let Some(socket) = std::env::var_os(quiet::FLOOD_VARIABLE) {
        return quiet::flood(socket.as_ref());
    }
    if let Some(kind) = std::env::var_os(workers::KIND_VARIABLE) {
        workers::serve(&kind.to_string_lossy());
        return;
    }
    // `cargo bench` passes flags of its own; words choose parts by name.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let parts: [(&str, Part); 17] = [
        ("hits", latency::hits),
        ("board", board::board),
        ("many", many::many),
        ("streams", latency::streams),
        ("large", large::large),
        ("puts", throughput::puts),
        ("grouping", throughput::grouping),
        ("waking", leases::waking),
        ("taking-over", leases::taking_over),
        ("memory", memory::memory),
        ("why", explaining::explanations),
        ("evicting", evicting::evicting),
        ("quiet", quiet::quiet),
        ("crowd", quiet::crowd),
        ("million", million::million),
        ("allocators", allocators::allocators),
        ("packing", packing::packing),
    ];
    let mut report = Report::begin();
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part(&mut report);
        }
    }
    report.finish();
}
