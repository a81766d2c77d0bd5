//! Metrics for Prometheus: the format, what is told to whom, and that dashboard and alerts ask for
//! nothing that is not exported.

mod page;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, Setup, call, run};

use page::Page;

fn page_of(daemon: &Daemon) -> Page {
    let ran = run(daemon.memo().args(["stats", "--format", "openmetrics"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Page::parse(ran.text())
}

/// Sends this over HTTP; gives the head and the body of the answer.
fn http(mut stream: impl Read + Write, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let length = format!("Content-Length: {}", body.len());
    assert!(head.contains(&length), "{head}");
    (head.to_owned(), body.to_owned())
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn what_happens_is_counted() {
    let daemon = Daemon::new();
    let stored = call("counted");
    let mut raw = daemon.connect();
    assert!(raw.lookup(&stored).is_err());
    raw.put(stored.put(&[("o0", b"four")]));
    for _ in 0..2 {
        raw.lookup(&stored).expect("a hit");
    }
    let page = page_of(&daemon);
    let task = "{project=\"flytesnacks\",domain=\"development\",task=\"counted\"}";
    for (sample, wanted) in [
        ("memod_hits_total", "2"),
        ("memod_misses_total{reason=\"never_seen\"}", "1"),
        ("memod_misses_total{reason=\"evicted\"}", "0"),
        ("memod_puts_total", "1"),
        ("memod_entries", "1"),
        ("memod_stored_bytes", "4"),
        ("memod_requests_total{verb=\"lookup\",outcome=\"hit\"}", "2"),
        ("memod_requests_total{verb=\"put\",outcome=\"populated\"}", "1"),
        ("memod_request_duration_seconds_count{verb=\"lookup\"}", "3"),
        ("memod_queue_depth{queue=\"writer\"}", "0"),
        ("memod_store_halted", "0"),
        (&format!("memod_task_hits_total{task}"), "2"),
        (&format!("memod_task_misses_total{task}"), "1"),
    ] {
        assert_eq!(page.value(sample), Some(wanted), "{sample}");
    }
    for sample in ["memod_database_memtable_bytes", "memod_disk_used_bytes", "memod_uptime_seconds"]
    {
        let value: f64 = page.value(sample).expect(sample).parse().unwrap();
        assert!(value > 0.0, "{sample}");
    }
}

#[test]
fn a_name_cannot_forge_a_sample() {
    let daemon = Daemon::new();
    let forged = call("a\"} 7\nmemod_hits_total 1000000 \\");
    assert!(daemon.connect().lookup(&forged).is_err());
    let page = page_of(&daemon);
    assert_eq!(page.value("memod_hits_total"), Some("0"));
}

#[test]
fn tasks_in_a_page_are_bounded() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for number in 0..400 {
        assert!(raw.lookup(&call(&format!("{number:0>1000}"))).is_err());
    }
    let page = page_of(&daemon);
    let tasks = page.samples().filter(|name| name.starts_with("memod_task_misses")).count();
    assert!((50..256).contains(&tasks), "{tasks}");
    assert_eq!(page.value("memod_misses_total{reason=\"never_seen\"}"), Some("400"));
}

#[test]
fn other_commands_do_not_answer_so() {
    let daemon = Daemon::new();
    let ran: Ran = run(daemon.memo().args(["status", "--format", "openmetrics"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.errors().contains("only `memo stats`"), "{ran:?}");
}

/// What Prometheus itself thinks of a page, where it is installed.
fn promtool_is_silent(page: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut child) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        return eprintln!("NOT TESTED: promtool is not installed");
    };
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
}

#[test]
fn a_unix_socket_serves_them_over_http() {
    let setup = Setup::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    let mut daemon = setup.config(format!("metrics = \"{}\"\n", path.display())).start();
    assert!(daemon.connect().lookup(&call("named")).is_err());
    let connect = || UnixStream::connect(&path).unwrap();
    let (head, body) = http(connect(), GET);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{head}");
    let page = Page::parse(&body);
    assert!(page.samples().any(|name| name.contains("task=\"named\"")));
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
        (&"x".repeat(10_000), "HTTP/1.1 400 "),
    ] {
        let (head, _) = http(connect(), request);
        assert!(head.starts_with(wanted), "{head}");
    }
    // Who takes the older format only has that.
    let get = "GET /metrics HTTP/1.1\r\nAccept: text/plain;version=0.0.4\r\n\r\n";
    let (head, classic) = http(connect(), get);
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    assert!(classic.contains("# TYPE memod_hits_total counter\n"), "{classic}");
    assert!(!classic.contains(" info\n") && !classic.contains("# EOF"), "{classic}");
    promtool_is_silent(&classic);
    let both = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,\
                text/plain;version=0.0.4;q=0.5\r\n\r\n";
    assert!(http(connect(), both).0.contains("application/openmetrics-text"));
    // Who says nothing holds nobody up.
    let silent: Vec<UnixStream> = (0..4).map(|_| connect()).collect();
    assert!(http(connect(), GET).0.starts_with("HTTP/1.1 200 "));
    drop(silent);
    assert!(daemon.stop().success());
    assert!(!path.exists(), "an orderly end leaves no socket");
}

#[test]
fn a_loopback_address_tells_numbers_and_no_names() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let daemon = Setup::new().config(format!("metrics = \"{free}\"\n")).start();
    assert!(daemon.connect().lookup(&call("secret")).is_err());
    let (head, body) = http(TcpStream::connect(free).unwrap(), GET);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let page = Page::parse(&body);
    assert_eq!(page.value("memod_misses_total{reason=\"never_seen\"}"), Some("1"));
    for name in ["secret", "flytesnacks", "project="] {
        assert!(!body.contains(name), "`{name}` is told");
    }
}

/// Who asks slowly does not keep others from asking.
#[test]
fn slow_askers_do_not_hide_the_metrics() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _daemon = Setup::new().config(format!("metrics = \"{free}\"\n")).start();
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(free).unwrap();
            stream.write_all(b"GET /metr").unwrap();
            stream
        })
        .collect();
    let began = std::time::Instant::now();
    let (head, _) = http(TcpStream::connect(free).unwrap(), GET);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    drop(slow);
}

/// Every name of ours that stands in this text.
fn names(text: &str) -> BTreeSet<String> {
    let word = |of: char| of.is_ascii_alphanumeric() || of == '_';
    let words = text.split(|of| !word(of)).filter(|name| name.starts_with("memod_"));
    words.map(str::to_owned).collect()
}

/// Values of labels that a rule names are exported, and what it compares with can be reached: users
/// get seven eighths of the connections.
fn assert_alerts_can_fire(rules: &str, page: &Page) {
    let samples: Vec<&str> = page.samples().collect();
    let mut busy = 0;
    for (_, after) in rules.match_indices("memod_refusals_total{").map(|at| rules.split_at(at.0)) {
        let sample = after.split_inclusive('}').next().unwrap();
        assert!(samples.contains(&sample), "{sample} is not exported");
        busy += usize::from(sample.contains("\"busy\""));
    }
    assert_eq!(busy, 1, "users who are refused are told of");
    let (_, full) = rules.split_once("memod_connections > ").expect("a rule on connections");
    let (part, _) = full.split_once(" * memod_connections_limit").expect("a part of the limit");
    assert!(part.parse::<f64>().unwrap() < 7.0 / 8.0, "users never have {part} of all");
}

#[test]
fn dashboard_and_alerts_ask_for_what_is_exported() {
    let daemon = Setup::new().config("store_bytes_max = \"1 MiB\"\n").start();
    let mut raw = daemon.connect();
    // More than there is room for, so that something is evicted.
    for number in 0..40_u8 {
        let stored = call("filled").version(&number.to_string());
        raw.put(stored.put(&[("o0", &vec![number; 60_000])]));
        raw.lookup(&stored).ok();
    }
    let page = page_of(&daemon);
    let exported: BTreeSet<String> =
        page.samples().filter_map(|name| name.split('{').next()).map(str::to_owned).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/monitoring");
    let mut asked = BTreeSet::new();
    for file in ["dashboard.json", "alerts.yml"] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let found = names(&text);
        assert!(found.len() > 5, "{file}: {found:?}");
        asked.extend(found);
    }
    let unknown: Vec<&String> = asked.difference(&exported).collect();
    assert!(unknown.is_empty(), "asked for and not exported: {unknown:?}");
    assert_alerts_can_fire(&fs::read_to_string(folder.join("alerts.yml")).unwrap(), &page);
    let shown: BTreeSet<String> =
        names(&fs::read_to_string(folder.join("dashboard.json")).unwrap());
    let hidden: Vec<&String> = exported.difference(&shown).collect();
    assert!(hidden.is_empty(), "exported and not on the dashboard: {hidden:?}");
    let text = fs::read_to_string(folder.join("dashboard.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    assert!(json["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}
