//! Each verb, by somebody who may not (issue 6): nothing of what is asked for is to be learned.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use harness::run;
use serde_json::{Value, json};

use super::house::{ALICE, BOB, GRANTS, House, KEEPER, NOBODY, READER, STRANGER, call};

const OUT: &str = "o0:string";

fn house() -> Option<House> {
    House::new(GRANTS)
}

/// An answer without what names the call that was asked for.
fn without_key(mut answer: Value) -> Value {
    answer.as_object_mut().expect("an object").remove("key");
    answer
}

#[test]
fn metrics_tell_of_what_may_be_read() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "hers");
    house.stores(BOB, "beta", "his");
    house.json(0, ALICE, "alpha", &call("lookup", "hers", OUT));
    house.json(0, BOB, "beta", &call("lookup", "his", OUT));
    let page = |uid| {
        let ran = house.ends(0, uid, "alpha", &["stats", "--format", "openmetrics"]);
        ran.text().to_owned()
    };
    let (of_alice, of_bob) = ("task=\"hers\"", "task=\"his\"");
    for (uid, sees_hers, sees_his, hits) in [
        (ALICE, true, false, 1),
        (READER, true, false, 1),
        (BOB, false, true, 1),
        (STRANGER, false, false, 0),
        (NOBODY, false, false, 0),
        (0, true, true, 2),
    ] {
        let page = page(uid);
        assert_eq!(
            (page.contains(of_alice), page.contains(of_bob)),
            (sees_hers, sees_his),
            "{uid}"
        );
        assert!(page.contains(&format!("memod_hits_total {hits}\n")), "{uid}: {page}");
        // What is not counted by task tells of everybody.
        for whole in ["memod_requests", "memod_entries", "memod_database", "memod_connections"] {
            assert_eq!(page.contains(whole), uid == 0, "{uid} and {whole}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}

#[test]
fn lookup_is_a_miss_that_does_not_say_what_is_there() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "there");
    for uid in [BOB, STRANGER, NOBODY] {
        let there = house.json(1, uid, "alpha", &call("lookup", "there", OUT));
        let absent = house.json(1, uid, "alpha", &call("lookup", "absent", OUT));
        assert_eq!(there["reason"], "forbidden", "{there}");
        assert_eq!(without_key(there), without_key(absent));
    }
    for uid in [ALICE, KEEPER, READER, 0] {
        house.json(0, uid, "alpha", &call("lookup", "there", OUT));
    }
    // A name of a project lets nobody into another's.
    house.ends(1, ALICE, "alpha/x", &call("lookup", "there", OUT));
    house.is_forbidden(ALICE, "alpha/x", &call("put", "t", "o0:string=x"));
}

#[test]
fn put_is_refused_whether_or_not_there_is_an_entry() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "there");
    for uid in [BOB, READER, STRANGER] {
        for task in ["there", "absent"] {
            house.is_forbidden(uid, "alpha", &call("put", task, "o0:string=forged"));
            let put = [&call("put", task, "o0:string=forged")[..], &["--overwrite"]].concat();
            house.is_forbidden(uid, "alpha", &put);
        }
    }
    let hit = house.json(0, ALICE, "alpha", &call("lookup", "there", OUT));
    assert_eq!(hit["outputs"]["o0"]["value"], "secret", "{hit}");
    assert_eq!(hit["provenance"]["writer_uid"], ALICE, "{hit}");
    house.ends(1, ALICE, "alpha", &call("lookup", "absent", OUT));
}

#[test]
fn an_upload_is_refused_to_who_may_put_nowhere() {
    let Some(house) = house() else { return };
    let large = house.daemon.folder().join("large");
    std::fs::write(&large, vec![7; 5 << 20]).unwrap();
    let output = format!("o0:bytes=@{}", large.display());
    for uid in [READER, STRANGER] {
        house.is_forbidden(uid, "alpha", &call("put", "large", &output));
    }
    house.json(0, ALICE, "alpha", &call("put", "large", &output));
    // The same bytes, of which Bob knows everything, give him nothing of Alice's entry.
    house.is_forbidden(BOB, "alpha", &call("put", "large", &output));
    house.ends(1, BOB, "beta", &call("lookup", "large", "o0:bytes"));
}

#[test]
fn why_names_no_neighbour_that_may_not_be_read() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "same");
    let asked = house.json(1, BOB, "alpha", &call("why", "same", OUT));
    assert_eq!((&asked["reason"], &asked["nearest"]), (&json!("forbidden"), &json!([])));
    let asked = house.json(1, BOB, "beta", &call("why", "same", OUT));
    assert_eq!((&asked["reason"], &asked["nearest"]), (&json!("never_seen"), &json!([])));
    // Who may read both is told.
    let asked = house.json(1, 0, "beta", &call("why", "same", OUT));
    assert_eq!(asked["nearest"][0]["differs"][0]["stored"], "alpha/development", "{asked}");
}

#[test]
fn ls_lists_only_what_may_be_read() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "hers");
    let own = house.stores(BOB, "beta", "his");
    house.stores(0, "gamma", "neither");
    let keys = |uid| -> Vec<Value> {
        let ran = run(&mut house.command(uid, "beta", &["ls", "--all"]));
        let rows = ran.json()["entries"].as_array().cloned().unwrap();
        rows.iter().map(|row| row["key"].clone()).collect()
    };
    assert_eq!(keys(BOB), [json!(own)]);
    assert_eq!(keys(STRANGER), Vec::<Value>::new());
    assert_eq!(keys(0).len(), 3);
    house.is_forbidden(BOB, "alpha", &["ls"]);
    house.is_forbidden(BOB, "absent", &["ls"]);
}

#[test]
fn show_and_cat_answer_by_key_as_if_there_were_nothing_and_as_late() {
    let Some(house) = house() else { return };
    let there = house.stores(ALICE, "alpha", "there");
    let absent = "00".repeat(32);
    for verb in [&["show"][..], &["cat"]] {
        let ask = |key: &str| {
            let output: &[&str] = if verb == ["cat"] { &["o0"] } else { &[] };
            let arguments = [verb, &[key], output].concat();
            let began = Instant::now();
            let ran = run(&mut house.command(BOB, "alpha", &arguments));
            assert_eq!(ran.code, Some(1), "{ran:?}");
            let error = ran.json_error().to_string().replace(key, "KEY");
            assert!(!error.contains("alpha"), "{error}");
            (error, began.elapsed())
        };
        let (one, other) = (ask(&there), ask(&absent));
        assert_eq!(one.0, other.0);
        // Later than any row is read, so that the time does not tell.
        for took in [one.1, other.1] {
            assert!(took >= Duration::from_millis(20), "{took:?}");
        }
    }
    house.ends(0, READER, "alpha", &["show", &there]);
    assert_eq!(house.ends(0, READER, "alpha", &["cat", &there, "o0"]).text(), "secret");
}

#[test]
fn rm_forgets_only_what_may_be_administered() {
    let Some(house) = house() else { return };
    let hers = house.stores(ALICE, "alpha", "hers");
    let his = house.stores(BOB, "beta", "his");
    for uid in [BOB, READER, STRANGER] {
        house.is_forbidden(uid, "alpha", &["rm", &hers]);
        house.is_forbidden(uid, "alpha", &["rm", "--scope", "--yes"]);
        house.is_forbidden(uid, "alpha", &["rm", "--writer", "20001", "--yes"]);
        house.is_forbidden(uid, "alpha", &["rm", "--older-than", "0s", "--dry-run"]);
    }
    // Whoever administers one scope learns nothing of others by key or condition.
    for dry in [&["--dry-run"][..], &[]] {
        let ran = house.json(1, KEEPER, "alpha", &[&["rm", &his], dry].concat());
        assert_eq!(ran["matched"], 0);
        let absent = "00".repeat(32);
        let ran = house.json(1, KEEPER, "alpha", &[&["rm", &absent], dry].concat());
        assert_eq!(ran["matched"], 0);
    }
    house.is_forbidden(KEEPER, "beta", &["rm", "--scope", "--yes"]);
    let counted = house.json(0, KEEPER, "alpha", &["rm", "--older-than", "0s", "--dry-run"]);
    assert_eq!(counted["matched"], 1);
    let removed = house.json(0, KEEPER, "alpha", &["rm", "--older-than", "0s", "--yes"]);
    assert_eq!(removed["matched"], 1);
    house.ends(1, ALICE, "alpha", &call("lookup", "hers", OUT));
    house.ends(0, BOB, "beta", &call("lookup", "his", OUT));
}

#[test]
fn leases_are_neither_taken_nor_seen() {
    let Some(house) = house() else { return };
    let of = |verb: &'static str, owner: &'static str| {
        let lease = ["lease", verb, "--task", "t", "--cache-version", "1", "--input", "n=1"];
        [&lease[..], &["--output", OUT, "--owner", owner]].concat()
    };
    let acquire = |owner| [&of("acquire", owner)[..], &["--heartbeat", "10s"]].concat();
    house.ends(0, ALICE, "alpha", &acquire("a"));
    for uid in [BOB, READER] {
        house.is_forbidden(uid, "alpha", &acquire("b"));
        let waits = [&acquire("b")[..], &["--wait", "1m"]].concat();
        if uid == READER {
            house.is_forbidden(uid, "alpha", &waits);
        } else {
            // As of a lookup: not even that somebody computes it is told.
            let ran = run(&mut house.command(uid, "alpha", &waits));
            assert!(!ran.text().contains("20001"), "{ran:?}");
            assert!(!ran.errors().contains("20001"), "{ran:?}");
            assert_ne!(ran.code, Some(0), "{ran:?}");
        }
        house.is_forbidden(uid, "alpha", &of("release", "a"));
    }
    house.ends(0, ALICE, "alpha", &of("release", "a"));
}

#[test]
fn waiting_tells_nothing_and_does_not_wait() {
    let Some(house) = house() else { return };
    let mut lease = call("acquire", "t", OUT);
    lease.insert(0, "lease");
    let lease = [&lease[..], &["--owner", "a", "--heartbeat", "10s"]].concat();
    let before = house.json(1, BOB, "alpha", &call("why", "t", OUT));
    house.ends(0, ALICE, "alpha", &lease);
    // Nor does an explanation say that somebody computes it.
    assert_eq!(house.json(1, BOB, "alpha", &call("why", "t", OUT)), before);
    let told = house.json(1, READER, "alpha", &call("why", "t", OUT));
    assert!(told["detail"].to_string().contains("`a` of user 20001 is computing it"), "{told}");
    let wait = [&call("lookup", "t", OUT)[..], &["--wait", "10m"]].concat();
    let answer = house.json(1, BOB, "alpha", &wait);
    assert_eq!((&answer["status"], &answer["reason"]), (&json!("MISS"), &json!("forbidden")));
    let short = [&call("lookup", "t", OUT)[..], &["--wait", "50ms"]].concat();
    let answer = house.json(1, READER, "alpha", &short);
    assert_eq!(answer["status"], "PENDING", "who may read is told: {answer}");
}

#[test]
fn stats_savings_and_budgets_tell_only_of_what_may_be_read() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "hers");
    house.ends(0, ALICE, "alpha", &call("lookup", "hers", OUT));
    house.ends(1, BOB, "beta", &call("lookup", "his", OUT));
    house.ends(1, BOB, "alpha", &call("lookup", "hers", OUT));
    let told = house.json(0, BOB, "beta", &["stats"]);
    let text = told.to_string();
    assert!(!text.contains("alpha") && !text.contains("20001"), "{text}");
    assert_eq!((&told["hits"], &told["misses"]), (&json!(0), &json!(1)), "{text}");
    let all = house.json(0, 0, "beta", &["stats"]);
    // What a stranger asks for does not appear among the owner's tasks.
    let tasks = all["by_task"].as_array().unwrap();
    let hers = tasks.iter().find(|row| row["project"] == "alpha").unwrap();
    assert_eq!((&hers["hits"], &hers["misses"]), (&json!(1), &json!(0)), "{all}");
    assert_eq!(all["misses"], 2, "{all}");
    assert_eq!((&all["entries"], &all["puts"]), (&json!(1), &json!(1)));
    let reader = house.json(0, READER, "alpha", &["stats"]).to_string();
    assert!(reader.contains("alpha") && !reader.contains("beta"), "{reader}");
}

#[test]
fn what_is_not_told_is_not_zero() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "hers");
    let untold = [
        "puts",
        "entries",
        "blobs",
        "stored_bytes",
        "logical_bytes",
        "evicted_entries",
        "leases",
        "waiters",
        "connections",
        "misses_by_reason",
    ];
    for (uid, all) in [(ALICE, false), (STRANGER, false), (0, true)] {
        let stats = house.json(0, uid, "alpha", &["stats"]);
        for name in untold {
            assert_eq!(stats.get(name).is_some(), all, "{name} to {uid}: {stats}");
        }
        for name in ["disk_free_bytes", "disk_reserve_bytes", "evicted_bytes", "regret_seconds"] {
            assert_eq!(stats["eviction"].get(name).is_some(), all, "{name} to {uid}: {stats}");
        }
        assert!(stats["hits"].is_u64() && stats["uptime_seconds"].is_f64(), "{stats}");
        let text = |command| {
            let ran = house.ends(0, uid, "alpha", &["--format", "text", command]);
            ran.text().to_owned()
        };
        let stats = text("stats");
        for line in ["entries", "connections", "disk free", "disk reserve", "regret"] {
            let line = stats.lines().find(|of| of.starts_with(&format!("{line}\t")));
            let line = line.unwrap_or_else(|| panic!("a line was due: {stats}"));
            assert_eq!(line.ends_with("\tnot told"), !all, "{uid}: {line}");
        }
        let top = text("top");
        assert!(!top.contains(" 0 connections") && !top.contains(" 0 entries"), "{top}");
        assert_eq!(top.contains("not told"), !all, "{uid}: {top}");
        let told = run(&mut house.command(uid, "alpha", &["--format", "text", "doctor"]));
        assert_eq!(told.text().contains("kept in reserve"), all, "{uid}: {}", told.text());
    }
}

#[test]
fn the_log_tells_ones_own_requests_without_gaps() {
    let Some(house) = house() else { return };
    house.ends(1, BOB, "beta", &call("lookup", "his", OUT));
    house.stores(ALICE, "alpha", "hers");
    house.stores(KEEPER, "alpha", "also");
    house.ends(1, BOB, "beta", &call("lookup", "his", OUT));
    for (uid, project) in [(BOB, "beta"), (KEEPER, "alpha")] {
        let ran = house.ends(0, uid, project, &["log"]);
        let rows: Vec<Value> =
            ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(rows.iter().all(|row| row["uid"] == uid), "{rows:?}");
        let sequences: Vec<_> = rows.iter().map(|row| row["sequence"].as_u64().unwrap()).collect();
        let wanted: Vec<u64> = (0..if uid == BOB { 2 } else { 1 }).collect();
        assert_eq!(sequences, wanted, "{rows:?}");
    }
    let all = house.ends(0, 0, "alpha", &["log"]);
    assert!(all.text().contains("20001") && all.text().contains("20003"), "{all:?}");
}

#[test]
fn status_hides_what_names_scopes_and_users() {
    let Some(house) = house() else { return };
    for uid in [BOB, KEEPER] {
        let status = house.json(0, uid, "beta", &["status"]);
        assert_eq!(status["alive"], true);
        let settings = status["settings"].as_object().unwrap();
        assert!(!status.to_string().contains("alpha"), "{status}");
        assert!(settings.contains_key("max_age") && !settings.contains_key("grants"), "{status}");
    }
    let status = house.json(0, 0, "beta", &["status"]);
    let grants = &status["settings"]["grants"];
    assert!(grants["value"].as_str().unwrap().contains("user:20001 read,write,lease in alpha/*"));
    assert!(grants["source"].as_str().unwrap().ends_with("memod.toml:4"), "{grants}");
}

#[test]
fn upkeep_is_for_who_administers_everything() {
    let Some(house) = house() else { return };
    house.stores(ALICE, "alpha", "hers");
    let archive = house.daemon.folder().join("archive");
    let archive = archive.to_str().unwrap();
    house.ends(0, 0, "alpha", &["export", archive]);
    std::fs::set_permissions(archive, std::fs::Permissions::from_mode(0o644)).unwrap();
    for uid in [ALICE, BOB, KEEPER, READER, STRANGER, NOBODY] {
        house.is_forbidden(uid, "alpha", &["verify"]);
        house.is_forbidden(uid, "alpha", &["verify", "--repair"]);
        house.is_forbidden(uid, "alpha", &["gc"]);
    }
    house.ends(0, 0, "alpha", &["rm", "--scope", "--yes"]);
    // An import says when an entry was made, so it takes more than to put.
    for uid in [ALICE, BOB, READER, STRANGER, NOBODY] {
        let refused = run(&mut house.command(uid, "alpha", &["import", archive]));
        let said = format!("user {uid} may not administer alpha/development");
        assert!(refused.errors().contains(&said), "{refused:?}");
        assert_ne!(refused.code, Some(0), "{refused:?}");
    }
    house.ends(1, ALICE, "alpha", &call("lookup", "hers", OUT));
    // Nor can anybody but who administers everything write in another's name.
    for (uid, writer) in [(KEEPER, KEEPER), (0, ALICE)] {
        house.ends(0, uid, "alpha", &["import", archive]);
        let hers = house.json(0, ALICE, "alpha", &call("lookup", "hers", OUT));
        assert_eq!(hers["provenance"]["writer_uid"], writer);
        house.ends(0, 0, "alpha", &["rm", "--scope", "--yes"]);
    }
}

#[test]
fn nobody_is_told_nothing_of_others_who_are_nobody() {
    let everyone = "[[grants]]\neveryone = true\nrights = [\"write\"]\nscopes = [\"open/*\"]\n";
    let Some(house) = House::new(&format!("{GRANTS}{everyone}")) else { return };
    house.stores(NOBODY, "open", "theirs");
    house.ends(0, NOBODY, "open", &call("lookup", "theirs", OUT));
    assert_eq!(house.ends(1, NOBODY, "open", &["log"]).text(), "", "no rows");
    let told = house.json(0, NOBODY, "open", &["stats"]);
    assert!(!told.to_string().contains("65534"), "{told}");
    let told = house.json(0, 0, "open", &["stats"]);
    assert!(told.to_string().contains("65534"), "{told}");
}
