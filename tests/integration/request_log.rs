//! The request log: what was asked of late, by whom, and what came of it; bounded, and in order.

use std::io::{BufRead, BufReader, Lines};
use std::process::{ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Daemon, Raw, Setup, call, eventually, named};
use memod_protocol::handshake::{CAPABILITIES, OVERSIGHT};
use memod_protocol::limits::LOG_ROWS_MAX;
use memod_protocol::{
    Claim, ErrorCode, Filter, Key, LogPage, LogQuery, LogRow, MissReason, Outcome, Request,
    Response, Scope, Selector, Verb,
};
use serde_json::{Value, json};

use crate::grants::house::{GRANTS, House, KEEPER};
use crate::memo::{ends, json_of, square, stored};

fn from(sequence: u64) -> LogQuery {
    LogQuery { from: Some(sequence), limit: 1000, ..LogQuery::default() }
}

fn last(limit: u32) -> LogQuery {
    LogQuery { limit, ..LogQuery::default() }
}

fn kinds(page: &LogPage) -> Vec<(Verb, Outcome)> {
    page.rows.iter().map(|row| (row.verb, row.outcome)).collect()
}

#[test]
fn what_is_read_by_key_is_found_by_its_scope_and_task() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("read");
    raw.put(one.put(&[("o0", b"four")]));
    let (hit, _) = raw.lookup(&one).expect("stored");
    let (key, output) = (hit.key, "o0".to_owned());
    let read = raw.ask(Request::Read { key, output }, Bytes::new()).response;
    assert!(matches!(read, Response::Hit(_)), "{read:?}");
    let of_task = LogQuery { task: Some("read".to_owned()), ..from(0) };
    let page =
        raw.log(LogQuery { scope: Some(one.0.scope.clone()), verb: Some(Verb::Read), ..of_task });
    assert_eq!(kinds(&page), [(Verb::Read, Outcome::Hit)]);
}

#[test]
fn every_kind_of_request_is_written_down_with_what_came_of_it() {
    let daemon = Daemon::new();
    let (mut raw, mut other) = (daemon.connect(), daemon.connect());
    let (one, two) = (call("logged"), call("leased"));
    let before = now_ms();
    raw.lookup(&one).expect_err("nothing is stored");
    raw.put(one.put(&[("o0", b"four")]));
    raw.put(one.put(&[("o0", b"four")]));
    let (hit, _) = raw.lookup(&one).expect("stored");
    raw.owns(two.claim());
    other.claim(Claim { wait_ms: Some(0), ..two.claim() });
    let waiting = other.waits(two.claim());
    raw.release(&two, None);
    other.woken_as_owner(&waiting);
    other.release(&two, None);
    raw.reserve(&two, named("a", 60_000));
    raw.reserve(&two, named("b", 60_000));
    raw.show(hit.key).expect("stored");
    raw.list();
    raw.explain(one.why());
    raw.stats();
    // Asked beside the others, it is no row of its own.
    raw.savings();
    raw.invalidate(Selector::Matching(Filter::default()), true);
    let of_task = Filter { task: Some("logged".to_owned()), ..Filter::default() };
    raw.invalidate(Selector::Matching(of_task), false);
    let mut wrong = one.claim();
    wrong.lookup.call.task.clear();
    raw.ask_error(Request::Claim(Box::new(wrong)), Bytes::new());
    assert!(raw.ping(), "of which nothing is kept");
    let page = raw.log(from(0));
    assert_eq!(
        kinds(&page),
        [
            (Verb::Lookup, Outcome::Miss),
            (Verb::Put, Outcome::Populated),
            (Verb::Put, Outcome::Exists),
            (Verb::Lookup, Outcome::Hit),
            (Verb::Lookup, Outcome::Leased),
            (Verb::Lookup, Outcome::Pending),
            (Verb::Release, Outcome::Done),
            (Verb::Lookup, Outcome::Leased),
            (Verb::Release, Outcome::Done),
            (Verb::Reserve, Outcome::Leased),
            (Verb::Reserve, Outcome::Pending),
            (Verb::Read, Outcome::Done),
            (Verb::List, Outcome::Done),
            (Verb::Why, Outcome::Done),
            (Verb::Stats, Outcome::Done),
            // Who only counts forgets nothing.
            (Verb::List, Outcome::Done),
            (Verb::Invalidate, Outcome::Done),
            (Verb::Lookup, Outcome::Error),
        ]
    );
    assert_eq!((page.next, page.lost), (page.rows.len() as u64, 0));
    for (number, row) in (0..).zip(&page.rows) {
        assert_eq!(row.sequence, number);
        assert_eq!((row.uid, row.pid), (nix::unistd::getuid().as_raw(), Some(std::process::id())));
        assert!(row.program.as_deref().is_some_and(|name| name.starts_with("integration")));
        assert!((before..=now_ms()).contains(&row.at_ms), "{row:?}");
    }
    they_say_of_what(&page.rows, hit.key);
    assert_eq!(raw.log(from(page.next)).rows, [], "to ask for the log is not written down");
}

/// What the rows of the test above say besides verb and outcome.
fn they_say_of_what(rows: &[LogRow], key: Key) {
    assert_eq!(rows[0].reason, Some(MissReason::NeverSeen));
    assert_eq!((rows[0].key, rows[1].key), (Some(key), Some(key)));
    assert_eq!(rows[3].task.as_deref(), Some("logged"));
    assert_eq!(rows[3].scope, Some(Scope::new("flytesnacks", "development")));
    assert_eq!((rows[0].bytes, rows[1].bytes, rows[3].bytes), (0, 4, 4));
    assert_eq!((rows[6].key, rows[8].key), (rows[4].key, rows[4].key), "of which key");
    assert_eq!((rows[11].key, rows[11].task.as_deref()), (Some(key), Some("logged")));
    assert_eq!(rows[16].task.as_deref(), Some("logged"), "what was forgotten");
    assert_eq!((rows[17].error, rows[17].key), (Some(ErrorCode::InvalidArgument), None));
}

/// Upkeep, refused or done, stands there under its name; older clients know no such names.
#[test]
fn upkeep_stands_in_the_log_under_its_own_name() {
    let Some(house) = House::new(GRANTS) else { return };
    for (uid, code) in [(0, 0), (KEEPER, 4)] {
        house.ends(code, uid, "alpha", &["verify"]);
        house.ends(code, uid, "alpha", &["gc"]);
    }
    house.ends(0, 0, "alpha", &["stats"]);
    let wanted = [
        (Verb::Verify, Outcome::Done),
        (Verb::Collect, Outcome::Done),
        (Verb::Verify, Outcome::Error),
        (Verb::Collect, Outcome::Error),
        (Verb::Stats, Outcome::Done),
    ];
    let socket = house.daemon.socket();
    for (capabilities, knows) in [(CAPABILITIES, true), (CAPABILITIES & !OVERSIGHT, false)] {
        let told = kinds(&Raw::capable(&socket, capabilities).log(from(0)));
        let as_known = |(verb, outcome)| (if knows { verb } else { Verb::Stats }, outcome);
        assert_eq!(told, wanted.map(as_known), "{capabilities}");
    }
    for verb in ["verify", "collect"] {
        let rows = ends(&house.daemon, 0, &["log", "--verb", verb]);
        assert_eq!(rows.text().matches(verb).count(), 2, "{rows:?}");
    }
}

#[test]
fn a_waiter_that_dies_is_gone_and_the_daemon_is_not_stopping() {
    let daemon = Daemon::new();
    let (mut owner, mut waiter) = (daemon.connect(), daemon.connect());
    let one = call("awaited in vain");
    let key = owner.owns(one.claim()).miss.key;
    waiter.waits(one.claim());
    drop(waiter);
    let gone = LogQuery { outcome: Some(Outcome::Gone), wait_ms: 60_000, ..from(0) };
    let rows = owner.log(gone).rows;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].key, rows[0].error), (Some(key), None));
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn conditions_select_rows_and_limits_bound_them() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for number in 0..30_u32 {
        let task = if number % 3 == 0 { "a" } else { "b" };
        let one = call(task).version(&number.to_string());
        let one = if number % 2 == 0 { one } else { one.scope("p", "d") };
        raw.lookup(&one).expect_err("nothing is stored");
        if number < 10 {
            raw.put(one.put(&[("o0", b"x")]));
        }
    }
    let mut count = |change: fn(&mut LogQuery)| {
        let mut query = from(0);
        change(&mut query);
        let page = raw.log(query);
        assert_eq!(page.next, 40, "what does not meet the conditions is behind us, too");
        page.rows.len()
    };
    assert_eq!(count(|_| {}), 40);
    assert_eq!(count(|query| query.task = Some("a".to_owned())), 14);
    assert_eq!(count(|query| query.verb = Some(Verb::Put)), 10);
    assert_eq!(count(|query| query.outcome = Some(Outcome::Miss)), 30);
    assert_eq!(count(|query| query.scope = Some(Scope::new("p", "d"))), 20);
    assert_eq!(count(|query| query.uid = Some(nix::unistd::getuid().as_raw())), 40);
    assert_eq!(count(|query| query.uid = Some(u32::MAX)), 0);
    assert_eq!(
        count(|query| {
            query.task = Some("a".to_owned());
            query.verb = Some(Verb::Lookup);
            query.scope = Some(Scope::new("p", "d"));
        }),
        5
    );
    let sequences = |page: &LogPage| page.rows.iter().map(|row| row.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(&raw.log(last(3))), [37, 38, 39]);
    assert_eq!(raw.log(last(0)).rows.len(), 1, "one is the least");
    let page = raw.log(LogQuery { limit: 7, ..from(0) });
    assert_eq!((sequences(&page), page.next), ((0..7).collect(), 7));
    assert_eq!(raw.log(LogQuery { limit: u32::MAX, ..from(0) }).rows.len(), 40);
}

#[test]
fn the_log_is_bounded_and_says_what_it_has_forgotten() {
    let daemon = Setup::new().config("log_requests = 10").start();
    let mut raw = daemon.connect();
    for number in 0..250_u32 {
        raw.lookup(&call("many").version(&number.to_string())).expect_err("nothing is stored");
    }
    let page = raw.log(last(LOG_ROWS_MAX));
    assert_eq!((page.rows.len(), page.rows[0].sequence, page.next), (10, 240, 250));
    let page = raw.log(from(100));
    assert_eq!((page.rows.len(), page.rows[0].sequence, page.lost), (10, 240, 140));
    assert_eq!(raw.stats().misses, 250, "the counters know of all");
}

#[test]
fn who_follows_is_told_of_each_request_once_and_in_order() {
    let daemon = Daemon::new();
    let (mut writer, mut reader) = (daemon.connect(), daemon.connect());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..2000_u32 {
                writer.lookup(&call("followed").version(&number.to_string())).expect_err("a miss");
            }
        });
        let mut rows: Vec<LogRow> = Vec::new();
        let mut next = 0;
        while rows.len() < 2000 {
            let page = reader.log(LogQuery { wait_ms: 60_000, ..from(next) });
            assert!(!page.rows.is_empty(), "it waits until there is one");
            assert_eq!(page.lost, 0);
            next = page.next;
            rows.extend(page.rows);
        }
        assert!((0..).zip(&rows).all(|(number, row)| row.sequence == number));
    });
    let mut raw = daemon.connect();
    let begun = Instant::now();
    assert_eq!(raw.log(LogQuery { wait_ms: 30, ..from(2000) }).rows, []);
    assert!(begun.elapsed() >= Duration::from_millis(30), "it waited");
    // What comes meanwhile ends the wait at once.
    let query = LogQuery { wait_ms: 60_000, ..from(2000) };
    let id = raw.send(Request::Log(Box::new(query)), Bytes::new());
    assert!(raw.ping(), "it is at work on it");
    let begun = Instant::now();
    daemon.connect().lookup(&call("late")).expect_err("a miss");
    let reply = raw.read_reply().expect("a page");
    assert_eq!(reply.id, id);
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    let Response::Logged(page) = reply.response else { panic!("{:?}", reply.response) };
    assert_eq!(page.rows.len(), 1);
}

#[test]
fn who_follows_holds_up_neither_the_daemons_end_nor_its_own() {
    let mut daemon = Daemon::new();
    let (mut leaver, mut stayer) = (daemon.connect(), daemon.connect());
    for raw in [&mut leaver, &mut stayer] {
        let query = LogQuery { wait_ms: u64::MAX, ..from(1 << 40) };
        raw.send(Request::Log(Box::new(query)), Bytes::new());
    }
    let mut raw = daemon.connect();
    assert_eq!(raw.stats().connections, 3);
    let begun = Instant::now();
    drop(leaver);
    eventually("its connection is closed", || raw.stats().connections == 2);
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    let begun = Instant::now();
    assert!(daemon.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
}

#[test]
fn the_log_begins_anew_with_the_daemon() {
    let mut daemon = Daemon::new();
    daemon.connect().lookup(&call("before")).expect_err("a miss");
    assert!(daemon.stop().success());
    daemon.start().expect("it starts again");
    let mut raw = daemon.connect();
    assert_eq!(raw.log(last(10)), LogPage::default());
    raw.lookup(&call("after")).expect_err("a miss");
    assert_eq!(raw.log(last(10)).rows[0].sequence, 0);
}

#[test]
fn memo_log_prints_rows_of_text_and_of_json() {
    let daemon = Daemon::new();
    let key = stored(&daemon);
    ends(&daemon, 0, &square("lookup", &["--output", "o0:integer"]));
    let told = ends(&daemon, 0, &["log"]);
    let lines: Vec<Vec<&str>> =
        told.text().lines().map(|line| line.split('\t').collect()).collect();
    let verbs: Vec<_> = lines.iter().map(|fields| (fields[1], fields[2])).collect();
    assert_eq!(verbs, [("put", "populated"), ("lookup", "hit")]);
    assert!(lines.iter().all(|fields| fields.len() == 13 && fields[6] == "square"), "{lines:?}");
    assert_eq!(*lines[1].last().unwrap(), key);
    let only = ends(&daemon, 0, &["--format", "json", "log", "--verb", "lookup", "--limit", "5"]);
    let rows: Vec<Value> =
        only.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["outcome"], &rows[0]["task"]), (&json!("hit"), &json!("square")));
    assert_eq!(rows[0]["program"], json!("memo"));
    ends(&daemon, 1, &["log", "--task", "stranger"]);
    ends(&daemon, 2, &["log", "--verb", "ponder"]);
    assert_eq!(json_of(&daemon, 0, &["stats"])["hits"], json!(1));
}

#[test]
fn each_command_of_memo_is_one_row() {
    let daemon = Daemon::new();
    stored(&daemon);
    let commands = [
        (&["stats"][..], "stats"),
        (&["status"], "stats"),
        (&["ls"], "list"),
        (&["rm", "--task", "stranger"], "invalidate"),
    ];
    for (command, _) in commands {
        harness::run(daemon.memo().args(command));
    }
    let told = ends(&daemon, 0, &["log"]);
    let verbs: Vec<_> = told.text().lines().map(|line| line.split('\t').nth(1).unwrap()).collect();
    let wanted = [&["put"][..], &commands.map(|(_, verb)| verb)].concat();
    assert_eq!(verbs, wanted);
}

#[test]
fn memo_log_follows_the_next_daemon_when_one_has_ended() {
    let mut daemon = Daemon::new();
    daemon.connect().lookup(&call("before")).expect_err("a miss");
    let mut follows = Following::begin(&daemon);
    assert_eq!(follows.task(), json!("before"));
    for (end, name) in
        [(Daemon::kill as fn(&mut Daemon), "killed"), (|it| _ = it.stop(), "stopped")]
    {
        end(&mut daemon);
        assert!(follows.warning().contains("; waiting for a daemon to answer again"));
        daemon.start().expect("it starts again");
        assert_eq!(follows.warning(), "the daemon has been started anew");
        daemon.connect().lookup(&call(name)).expect_err("a miss");
        assert_eq!(follows.task(), json!(name));
    }
    follows.interrupt();
    let refused = harness::run(daemon.memo().args(["log", "-f", "--socket", "/none"]));
    assert_eq!(refused.code, Some(3), "there has to be one to begin with");
}

/// `memo log -f` at work.
struct Following {
    child: std::process::Child,
    rows: Lines<BufReader<ChildStdout>>,
    warnings: Lines<BufReader<ChildStderr>>,
}

impl Following {
    fn begin(daemon: &Daemon) -> Self {
        let mut memo = daemon.memo();
        memo.args(["--format", "json", "log", "-f"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = memo.spawn().unwrap();
        let rows = BufReader::new(child.stdout.take().unwrap()).lines();
        let warnings = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, rows, warnings }
    }

    /// Of what task the next row is.
    fn task(&mut self) -> Value {
        let line = self.rows.next().expect("a line").unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["task"].clone()
    }

    fn warning(&mut self) -> String {
        let line = self.warnings.next().expect("a line").unwrap();
        let parsed: Value = serde_json::from_str(&line).unwrap();
        parsed["warning"]["message"].as_str().expect("a warning").to_owned()
    }

    fn interrupt(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let status = harness::wait(&mut self.child).expect("it ends");
        assert_eq!(status.code(), Some(0), "to interrupt it is no failure");
    }
}

#[test]
fn memo_log_follows_until_it_is_interrupted() {
    let daemon = Daemon::new();
    let mut raw: Raw = daemon.connect();
    raw.lookup(&call("first")).expect_err("a miss");
    let mut follows = Following::begin(&daemon);
    assert_eq!(follows.task(), json!("first"));
    for name in ["second", "third"] {
        raw.lookup(&call(name)).expect_err("a miss");
        assert_eq!(follows.task(), json!(name));
    }
    follows.interrupt();
}
