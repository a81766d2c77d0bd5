//! A worker that is killed in the middle of a put.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call, descriptors, eventually};
use memod_protocol::{Frame, MissReason, PutOutcome, Request, RequestHeader};

use crate::bystander::Bystander;

/// Set in a worker process: the daemon's socket.
const SOCKET: &str = "MEMOD_TEST_WORKER_SOCKET";
/// Set in a worker process: where in its put it stops.
const STAGE: &str = "MEMOD_TEST_WORKER_STAGE";
/// What a worker says when it has got there.
const THERE: &str = "the worker is there";

const STAGES: [&str; 5] =
    ["in the header", "in the payload", "in an upload", "after an upload", "before the answer"];

fn task() -> CallBuilder {
    call("killed worker")
}

/// The worker: goes as far as its stage says, and no further.
fn work(socket: &Path, stage: &str) {
    let mut raw = Raw::greeted(socket);
    let content = vec![b'w'; 1 << 20];
    let (put, payload) = task().put(&[("o0", &content)]);
    let request = RequestHeader { id: 1, request: Request::Put(Box::new(put)) };
    let frame = Frame::new(&request, vec![payload]).unwrap();
    let head = frame.head();
    let data = |raw: &mut Raw| {
        for _ in 0..5 {
            raw.send(Request::UploadData { upload: 1 }, Bytes::from(content.clone()));
        }
    };
    match stage {
        "in the header" => raw.send_bytes(&head[..head.len() / 2]).unwrap(),
        "in the payload" => {
            raw.send_bytes(&head).unwrap();
            raw.send_bytes(&content[..content.len() / 2]).unwrap();
        }
        "in an upload" => {
            data(&mut raw);
            assert!(raw.ping());
        }
        "after an upload" => {
            data(&mut raw);
            raw.ask(Request::UploadEnd { upload: 1, digest: None }, Bytes::new());
        }
        "before the answer" => raw.send_frame(&frame),
        other => panic!("{other} is no stage"),
    }
    println!("{THERE}");
    // Until it is killed: nobody will ever answer here.
    while raw.read_frame().is_some() {}
    std::thread::park();
}

/// Starts this very test in a process of its own, as a worker, and waits until it is there.
fn start(daemon: &Daemon, stage: &str) -> Child {
    let mut worker = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("crash::worker::a_worker_killed_in_the_middle_of_a_put_leaves_nothing_visible")
        .env(SOCKET, daemon.socket())
        .env(STAGE, stage)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(worker.stdout.take().unwrap()).lines();
    let there = said.map_while(Result::ok).any(|line| line.ends_with(THERE));
    assert!(there, "the worker ended before it was {stage}");
    worker
}

#[test]
fn a_worker_killed_in_the_middle_of_a_put_leaves_nothing_visible() {
    if let (Some(socket), Ok(stage)) = (env::var_os(SOCKET), env::var(STAGE)) {
        return work(&PathBuf::from(socket), &stage);
    }
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let before = descriptors(daemon.pid());
    for stage in STAGES {
        let mut worker = start(&daemon, stage);
        assert_eq!(bystander.raw().stats().connections, 2, "{stage}");
        worker.kill().unwrap();
        worker.wait().unwrap();
        eventually("its connection is closed", || bystander.raw().stats().connections == 1);
        if stage == "before the answer" {
            // The daemon had all it needs, or not quite: then it is a put like any other, or none.
            match bystander.raw().lookup(&task()) {
                Ok((_, contents)) => assert!(contents[0] == vec![b'w'; 1 << 20]),
                Err(miss) => assert_eq!(miss.reason, MissReason::NeverSeen),
            }
        } else {
            let miss = bystander.raw().lookup(&task()).expect_err("half a put is none");
            assert_eq!(miss.reason, MissReason::NeverSeen, "{stage}");
            bystander.sees_nothing_new();
        }
        bystander.is_served();
    }
    eventually("the descriptors are closed", || descriptors(daemon.pid()) <= before);
    // Another worker does the work.
    let (mut put, payload) = task().put(&[("o0", b"done")]);
    put.overwrite = true;
    let mut next = daemon.connect();
    assert_eq!(next.put((put, payload)), PutOutcome::Populated);
    assert_eq!(bystander.raw().lookup(&task()).unwrap().1, ["done"]);
}
