#![allow(warnings, clippy::all, clippy::pedantic)]
use bytes::Bytes;
use memod_protocol::*;
use memod_store::*;
use std::time::Instant;
fn status(k: &str) -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    s.lines()
        .find(|l| l.starts_with(k))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}
fn ident(n: u64) -> CallIdentity {
    CallIdentity {
        scope: Scope::new("p", "d"),
        task: "t".into(),
        cache_version: "1".into(),
        signature: Digest::of(b"s"),
        inputs: vec![("x".into(), Digest::of(&n.to_le_bytes()))],
    }
}
fn entry(n: u64, o: Vec<Prepared>) -> NewEntry {
    let i = ident(n);
    NewEntry {
        key: i.key(),
        identity: i,
        interface: InterfaceText {
            inputs: vec![("x".into(), "integer".into())],
            outputs: vec![("o".into(), "bytes".into())],
        },
        outputs: o
            .into_iter()
            .enumerate()
            .map(|(i, p)| (format!("o{i}"), "bytes".into(), p))
            .collect(),
        provenance: Provenance {
            writer_uid: 0,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms: 1,
            run: RunClaim::default(),
        },
        replace: Replace::Never,
    }
}
fn fill(seed: u64, n: usize) -> Bytes {
    let mut v = vec![0u8; n];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut v);
    v.into()
}
fn put(s: &Store, e: NewEntry) -> Result<PutOutcome, StoreError> {
    let (a, b) = std::sync::mpsc::sync_channel(1);
    s.put(e, move |r| a.send(r).unwrap());
    b.recv().unwrap()
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let path = &a[2];
    let mut o = Options::new(path);
    if a.get(3).map(|s| s == "power").unwrap_or(false) {
        o.durability = Durability::Power
    }
    let t = Instant::now();
    let s = Store::open(&o).unwrap();
    println!("open {:?} {:?}", t.elapsed(), s.counters());
    match a[1].as_str() {
        "big" => {
            for big in 0..2u64 {
                let t = Instant::now();
                let mut u = s.begin_upload();
                let base = fill(7 + big, 1 << 20);
                for i in 0..2048u64 {
                    let mut v = base.to_vec();
                    v[..8].copy_from_slice(&i.to_le_bytes());
                    u.write(v.into()).unwrap();
                }
                let p = u.finish().unwrap();
                println!(
                    "upload {:?} rss {} hwm {}",
                    t.elapsed(),
                    status("VmRSS"),
                    status("VmHWM")
                );
                let id = s.counters().puts;
                put(&s, entry(id, vec![p])).unwrap();
                println!("put {:?}", t.elapsed());
                for _ in 0..2 {
                    let t = Instant::now();
                    let Found::Entry(e) = s.lookup(&ident(id).key(), Tier::Disk).unwrap() else {
                        panic!()
                    };
                    println!("lookup {:?}", t.elapsed());
                    let Content::Chunked(r) = &e.outputs[0].content else { panic!() };
                    for i in 0..r.chunk_count() {
                        r.chunk(i, Tier::Disk).unwrap().unwrap();
                    }
                    println!(
                        "read {:?} rss {} hwm {}",
                        t.elapsed(),
                        status("VmRSS"),
                        status("VmHWM")
                    );
                }
            }
        }
        "small" => {
            let n: u64 = a[4].parse().unwrap();
            let size: usize = a[5].parse().unwrap();
            let start = s.counters().puts;
            let t = Instant::now();
            let done = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
            for i in 0..n {
                let p = s.prepare(fill(start + i, size));
                let d = done.clone();
                s.put(entry(start + i, vec![p]), move |r| {
                    r.unwrap();
                    d.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                });
            }
            s.settle().unwrap();
            println!(
                "puts {n} {:?} {:.0}/s rss {} hwm {}",
                t.elapsed(),
                n as f64 / t.elapsed().as_secs_f64(),
                status("VmRSS"),
                status("VmHWM")
            );
            let t = Instant::now();
            for i in 0..100u64.min(n) {
                let p = s.prepare(fill(1 << 40 | start + i, size));
                put(&s, entry(1 << 40 | start + i, vec![p])).unwrap();
            }
            println!("one by one {:?} each", t.elapsed() / 100);
            for round in 0..2 {
                let t = Instant::now();
                let m = n.min(20000);
                for i in 0..m {
                    let k = start + (i * 7919) % n;
                    match s.lookup(&ident(k).key(), Tier::Disk).unwrap() {
                        Found::Entry(_) => {}
                        x => panic!("{x:?}"),
                    }
                }
                println!("lookups {:?} each", t.elapsed() / m as u32);
            }
            let t = Instant::now();
            let m = 20000;
            for i in 0..m {
                s.lookup(&ident(1 << 50 | i).key(), Tier::Disk).unwrap();
            }
            println!("misses {:?} each", t.elapsed() / m as u32);
            println!("{:?} rss {} hwm {}", s.counters(), status("VmRSS"), status("VmHWM"));
        }
        "full" => {
            let mut n = s.counters().puts;
            let mut errs = 0;
            loop {
                let p = s.prepare(fill(n, 100_000));
                match put(&s, entry(n, vec![p])) {
                    Ok(_) => {
                        n += 1;
                        if errs > 0 {
                            println!("ok again after {errs} errors at {n}");
                            break;
                        }
                    }
                    Err(e) => {
                        errs += 1;
                        if errs < 4 || errs % 10 == 0 {
                            println!("{n}: {e}");
                        }
                        if errs == 3 {
                            println!("freeing");
                            let _ = std::fs::remove_file(format!("{path}/../ballast"));
                        }
                        std::thread::sleep(std::time::Duration::from_millis(300));
                        if errs > 100 {
                            break;
                        }
                    }
                }
            }
            println!("{:?}", s.counters());
            s.settle().unwrap();
            let r = s.recount().unwrap();
            println!("{:?}", r);
            let mut bad = 0;
            for i in 0..n {
                match s.lookup(&ident(i).key(), Tier::Disk).unwrap() {
                    Found::Entry(_) => {}
                    _ => bad += 1,
                }
            }
            println!("bad {bad}");
        }
        "idle" => {
            let p = s.prepare(fill(1, 100));
            println!("{:?}", put(&s, entry(s.counters().puts, vec![p])).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(2500));
            eprintln!("closing");
        }
        _ => panic!(),
    }
    let t = Instant::now();
    s.close();
    println!("close {:?}", t.elapsed());
}
