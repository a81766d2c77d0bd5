//! Files, variables and arguments, good and bad.

use std::time::Duration;

use clap::Parser;

use super::*;

fn load_text(text: &str) -> Result<Settings, Vec<String>> {
    let written = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(written.path(), text).expect("written");
    let arguments =
        Arguments::parse_from(["memod".as_ref(), "--config".as_ref(), written.path().as_os_str()]);
    let read = load_file(&arguments, &|_| None, file(&arguments, &|_| None));
    read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    let problems = load_text("socket = 3\n\ndurabilty = \"power\"\nmax_age = \"soon\"\n")
        .expect_err("three mistakes");
    assert_eq!(problems.len(), 3, "{problems:?}");
    let wanted = [(":1:", "socket"), (":3:", "durabilty"), (":4:", "max_age")];
    for (problem, (line, word)) in problems.iter().zip(wanted) {
        assert!(problem.contains(line) && problem.contains(word), "{problem}");
    }
}

#[test]
fn a_line_that_is_no_utf_8_is_named_and_the_rest_is_looked_at() {
    let written = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = b"# good\n# M\xfcller\nlog = \"info\"\nmax_age = \"soon\"\n";
    std::fs::write(written.path(), text).expect("written");
    let arguments =
        Arguments::parse_from(["memod".as_ref(), "--config".as_ref(), written.path().as_os_str()]);
    let read = load_file(&arguments, &|_| None, file(&arguments, &|_| None));
    let problems = read.expect_err("two mistakes");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains(":2: ") && problems[0].contains("UTF-8"), "{problems:?}");
    assert!(problems[1].contains(":4: ") && problems[1].contains("max_age"), "{problems:?}");
}

#[test]
fn what_is_read_again_stands_where_it_stands_now() {
    let before = load_text("socket_mode = \"0600\"\ndata = \"/a\"\n").expect("good");
    let again = "# one line more\nsocket_mode = \"0600\"\ndata = \"/b\"\n";
    let (now, fixed) = before.with_live(load_text(again).expect("good"));
    assert_eq!(fixed, ["data"]);
    let line = |name| now.origin(name).and_then(|origin| origin.rsplit(':').next());
    assert_eq!(line("socket_mode"), Some("2"));
    assert_eq!(line("data"), Some("2"), "it stays what it was on its old line");
}

#[test]
fn every_mistake_is_told_in_the_first_run() {
    let problems = load_text(
        "socket = \"/a\"\nsocket = \"/b\"\nhot_bytes = = 3\nmax_age = \"soon\"\n\
         quarantined_users = [\"no such user\", 65534, 7]\n\
         store_bytes_max = \"1 MiB\"\nuser_bytes_max = \"2 MiB\"\n\
         scope_bytes = { p = { d = \"1 parsec\", e = true }, q = 3 }\n\
         user_bytes = { me = 1, 7 = \"x\" }\n\
         [[grants]]\neveryone = true\nrights = [\"read\"]\nrights = [\"write\"]\n",
    )
    .expect_err("mistakes");
    let all = problems.join("\n");
    for wanted in [
        ":2: `socket` stands there twice",
        ":3: ",
        ":4: max_age: ",
        ":5: quarantined_users: ",
        ":5: quarantined_users: 65534",
        ":7: user_bytes_max must not be above store_bytes_max",
        ":8: scope_bytes: p.d: ",
        ":8: scope_bytes: p.e: ",
        ":8: scope_bytes: q: ",
        ":9: user_bytes: me: ",
        ":9: user_bytes: 7: ",
        ":13: `rights` stands there twice",
    ] {
        assert!(problems.iter().any(|told| told.contains(wanted)), "`{wanted}`: {all}");
    }
    assert_eq!(problems.len(), 12, "{all}");
}

#[test]
fn every_field_is_set_and_shown_with_its_origin() {
    let values = [
        ("socket", "\"/a/s\"", "/a/s"),
        ("socket_mode", "\"0660\"", "0660"),
        ("data", "\"/a/d\"", "/a/d"),
        ("on_damage", "\"set_aside\"", "set_aside"),
        ("durability", "\"power\"", "power"),
        ("sync_interval", "\"2s\"", "2s"),
        ("hot_bytes", "1", "1"),
        ("sealed_bytes", "4", "4"),
        ("block_cache_bytes", "2", "2"),
        ("board_bytes", "200000", "196608"),
        ("boards_max", "0", "0"),
        ("store_bytes_max", "\"300 B\"", "300"),
        ("store_bytes_high", "200", "200"),
        ("store_bytes_low", "100", "100"),
        ("disk_reserve_bytes", "20", "20"),
        ("scope_bytes_max", "21", "21"),
        ("scope_bytes", "{ p = { d = 22, e = 23 } }", "p/d=22 p/e=23"),
        ("user_bytes_max", "24", "24"),
        ("user_bytes", "{ 0 = 25 }", "0=25"),
        ("eviction", "\"lru\"", "lru"),
        ("connections_max", "3", "3"),
        ("buffer_bytes_max", "8388609", "8388609"),
        ("stall_timeout", "\"5s\"", "5s"),
        ("drain_timeout", "\"6s\"", "6s"),
        ("max_age", "\"7s\"", "7s"),
        ("waiters_max", "9", "9"),
        ("lease_heartbeat_max", "\"11s\"", "11s"),
        ("log_requests", "12", "12"),
        ("idle_exit", "\"8s\"", "8s"),
        ("log", "\"debug\"", "debug"),
        ("log_format", "\"json\"", "json"),
        ("metrics", "\"127.0.0.1:9877\"", "127.0.0.1:9877"),
        ("quarantined_users", "[5, 4]", "4 5"),
    ];
    let lines: Vec<String> = values.iter().map(|(n, v, _)| format!("{n} = {v}")).collect();
    let grants = "[[grants]]\neveryone = true\nrights = [\"read\"]";
    let source = format!("{}\n{grants}", lines.join("\n"));
    let table = load_text(&source).expect("all are good").table();
    assert_eq!(table.len(), FIELDS.len() + 1);
    let last = table.last().expect("a row");
    assert_eq!((last.0.as_str(), last.1.as_str()), ("grants", "everyone read in */*"));
    assert!(last.2.ends_with(&format!(":{}", lines.len() + 1)), "{}", last.2);
    for ((name, value, origin), (line, (wanted, _, shown))) in
        table.iter().zip(values.iter().enumerate())
    {
        assert_eq!((name.as_str(), value.as_str()), (*wanted, *shown));
        assert!(origin.ends_with(&format!(":{}", line + 1)), "{origin}");
    }
}

#[test]
fn an_argument_wins_over_the_file_and_says_so() {
    let arguments = Arguments::parse_from(["memod", "--data", "/x", "--idle-exit", "1m"]);
    let settings = load_file(&arguments, &|_| None, None).expect("good");
    let table = settings.table();
    let data = table.iter().find(|row| row.0 == "data").expect("a row");
    assert_eq!((data.1.as_str(), data.2.as_str()), ("/x", "argument"));
    assert_eq!(settings.idle_exit, Duration::from_secs(60));
}

#[test]
fn the_environment_wins_over_the_file_and_says_so() {
    let written = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(written.path(), "log = \"debug\"\n").expect("written");
    let variables = |name: &str| (name == "MEMOD_LOG").then(|| OsString::from("warn"));
    let settings =
        load_file(&Arguments::parse_from(["memod"]), &variables, Some(written.path().to_owned()))
            .expect("good");
    assert_eq!((settings.log.as_str(), settings.origin("log")), ("warn", Some("$MEMOD_LOG")));
    let variables = |name: &str| (name == "MEMOD_LOG").then(|| OsString::from("memod=loudly"));
    let problems =
        load_file(&Arguments::parse_from(["memod"]), &variables, None).expect_err("a mistake");
    assert!(problems[0].to_string().starts_with("$MEMOD_LOG: "), "{problems:?}");
}

#[test]
fn the_file_is_looked_for_where_it_usually_is() {
    let home = tempfile::tempdir().expect("a folder");
    let usual = home.path().join("memod/memod.toml");
    let found = |arguments: &[&str], given: &[(&str, &str)]| {
        let arguments = Arguments::parse_from([&["memod"], arguments].concat());
        file(&arguments, &|name| {
            let set = given.iter().find(|(variable, _)| *variable == name);
            set.map(|(_, value)| OsString::from(value))
        })
    };
    let config_home = ("XDG_CONFIG_HOME", home.path().to_str().expect("text"));
    let own = ["--data", "/x"];
    assert_eq!(found(&own, &[config_home]), None);
    std::fs::create_dir(home.path().join("memod")).expect("made");
    std::fs::write(&usual, "").expect("written");
    assert_eq!(found(&own, &[config_home]), Some(usual));
    assert_eq!(found(&own, &[config_home, ("MEMOD_CONFIG", "")]), None);
    assert_eq!(found(&own, &[config_home, ("MEMOD_CONFIG", "/a")]), Some("/a".into()));
    let named = ["--data", "/x", "--config", "/b"];
    assert_eq!(found(&named, &[("MEMOD_CONFIG", "/a")]), Some("/b".into()));
    assert_eq!(found(&["check-config", "/c"], &[]), Some("/c".into()));
}

#[test]
fn budgets_that_contradict_each_other_are_told_with_their_lines() {
    let problems = load_text(
        "store_bytes_max = \"1 MiB\"\nstore_bytes_low = \"2 MiB\"\n\
         scope_bytes = { p = { d = \"3 MiB\" } }\nuser_bytes_max = \"4 MiB\"\n",
    )
    .expect_err("contradictions");
    let wanted = [(":2: ", "store_bytes_low"), (":3: ", "scope_bytes"), (":4: ", "user_bytes_max")];
    assert_eq!(problems.len(), 3, "{problems:?}");
    for (problem, (line, name)) in problems.iter().zip(wanted) {
        assert!(problem.contains(line) && problem.contains(name), "{problem}");
    }
}

#[test]
fn the_example_has_every_setting_at_its_default() {
    let example = include_str!("../../systemd/memod.toml");
    // What begins with `#` and a letter is a setting; with `#` and a blank, words about it.
    let lines = example.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|of: char| of.is_ascii_lowercase()) => setting,
        _ => line,
    });
    let source = lines.collect::<Vec<_>>().join("\n");
    let settings = load_text(&source).expect("the example is good");
    for (name, _) in FIELDS {
        assert!(settings.origin(name).is_some(), "{name} is missing");
    }
    assert!(settings.origin(GRANTS).is_some(), "grants are missing");
    let value = |settings: &Settings| -> Vec<(String, String)> {
        settings.table().into_iter().map(|(name, value, _)| (name, value)).collect()
    };
    assert_eq!(value(&settings), value(&Settings::default()));
    assert!(load_text(example).expect("as it is").origins.is_empty());
}
