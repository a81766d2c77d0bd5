//! Configuration files and arguments with mistakes in them.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use bytes::Bytes;
use harness::{Daemon, Setup, binary};
use memod_protocol::{Request, Response};

use super::assert_refused;

const MISTAKES: &str = "\
# A comment, so that lines and fields differ in number.
socket = 3

durabilty = \"power\"
max_age = \"soon\"
connections_max = 0
socket_mode = \"0999\"
data = \"relative/path\"
buffer_bytes_max = 1
stall_timeout = \"1ns\"
durability = \"hope\"
log = \"memod=loudly\"

[sharing]
high_water = 3
";

#[test]
fn every_mistake_of_a_configuration_is_told_at_once_with_its_line() {
    let daemon = Setup::new().config(MISTAKES).prepare();
    let file = daemon.folder().join("memod.toml");
    let file = file.display();
    let (code, said) = daemon.refused();
    assert_refused((code, said.clone()), 2, &[]);
    let wanted = [
        (2, "socket: a string is wanted, not integer"),
        (4, "`durabilty` is no setting; did you mean `durability`?"),
        (5, "max_age: a duration such as \"30s\" is wanted"),
        (6, "connections_max: a number from 1 to 1000000 is wanted"),
        (7, "socket_mode: permission bits such as \"0660\" are wanted"),
        (8, "data: an absolute path is wanted"),
        (9, "buffer_bytes_max: must be at least 8388608"),
        (10, "stall_timeout: must lie between 100ms and 1h"),
        (11, "durability: `hope` is neither `process` nor `power`"),
        (12, "log: "),
        (14, "`sharing` is no setting; there are socket, "),
    ];
    for (line, message) in wanted {
        let whole = format!("memod: error: {file}:{line}: {message}");
        assert!(said.contains(&whole), "`{whole}` is not in:\n{said}");
    }
    assert_eq!(said.lines().count(), wanted.len(), "nothing else is said:\n{said}");
    assert!(!daemon.data().exists(), "it has not begun anything");
}

#[test]
fn check_config_says_the_same_and_does_not_start() {
    let daemon = Setup::new().config(MISTAKES).prepare();
    let (_, starting) = daemon.refused();
    let mut command = daemon.command();
    let (code, checking) = Daemon::run_to_end(command.arg("check-config"));
    assert_eq!((code, checking), (2, starting));
    let good = Setup::new().config("socket_mode = \"0660\"\nmax_age = \"7d\"\n").prepare();
    let (code, said) = Daemon::run_to_end(good.command().arg("check-config"));
    assert_eq!(code, 0, "{said}");
    let file = good.folder().join("memod.toml");
    for line in [
        "the configuration is good".to_owned(),
        format!("socket_mode = 0660  ({}:1)", file.display()),
        format!("max_age = 7days  ({}:2)", file.display()),
        format!("data = {}  (argument)", good.data().display()),
        "durability = process  (default)".to_owned(),
    ] {
        assert!(said.contains(&line), "`{line}` is not in:\n{said}");
    }
    assert!(!good.data().exists());
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_named() {
    let broken = Setup::new().config("socket_mode = \"0600\"\nmax_age = = 3\n").prepare();
    let place = format!("{}:2: ", broken.folder().join("memod.toml").display());
    assert_refused(broken.refused(), 2, &[&place]);
    let missing = Daemon::run_to_end(Command::new(binary("memod")).args(["--config", "/no/file"]));
    assert_refused(missing, 2, &["cannot read the configuration /no/file", "No such file"]);
}

#[test]
fn wrong_arguments_are_named_and_end_with_code_2() {
    for (arguments, parts) in [
        (["--idle-exit", "soon"], ["soon", "--idle-exit"]),
        (["--durability", "hope"], ["hope", "--durability"]),
        (["--scoket", "/tmp/x"], ["--scoket", "--socket"]),
        (["start", "now"], ["start", "--help"]),
    ] {
        let ended = Daemon::run_to_end(Command::new(binary("memod")).args(arguments));
        assert_refused(ended, 2, &parts);
    }
}

#[test]
fn settings_take_effect_and_the_daemon_tells_them_with_their_origin() {
    let daemon = Setup::new()
        .config("socket_mode = \"0660\"\nhot_bytes = 1048576\n")
        .argument("--durability=power")
        .start();
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let Response::Status(status) = daemon.connect().ask(Request::Status, Bytes::new()).response
    else {
        panic!("a status was due");
    };
    assert_eq!(status.pid, daemon.pid());
    assert_eq!(status.socket, daemon.socket().display().to_string());
    let setting = |name: &str| {
        let (_, value, origin) = status.settings.iter().find(|row| row.0 == name).unwrap();
        (value.as_str(), origin.rsplit('/').next().unwrap())
    };
    assert_eq!(setting("socket_mode"), ("0660", "memod.toml:1"));
    assert_eq!(setting("hot_bytes"), ("1048576", "memod.toml:2"));
    assert_eq!(setting("durability"), ("power", "argument"));
    assert_eq!(setting("stall_timeout"), ("30s", "default"));
}

#[test]
fn check_config_takes_a_file_and_tells_scripts() {
    let daemon = Setup::new().prepare();
    let file = daemon.folder().join("some.toml");
    let check = |content: &str| {
        std::fs::write(&file, content).unwrap();
        let mut command = Command::new(binary("memod"));
        command.args(["check-config", "--format", "json"]).arg(&file).env_remove("MEMOD_LOG");
        let (code, said) = Daemon::run_to_end(&mut command);
        (code, serde_json::from_str::<serde_json::Value>(&said).expect("one object"))
    };
    let (code, told) = check("max_age = \"7d\"\n");
    assert_eq!((code, &told["good"]), (0, &true.into()));
    assert_eq!(told["settings"]["max_age"]["value"], "7days");
    assert_eq!(told["settings"]["max_age"]["source"], format!("{}:1", file.display()));
    let (code, told) = check(
        "hot_bytes = \"10 Gib\"\nstore_bytes_max = \"1 MB\"\nstore_bytes_low = \"2 MB\"\n\
         [[grants]]\nusers = [65534, \"no such user\"]\nrights = [\"write\"]\nscopes = [\"p\"]\n",
    );
    assert_eq!((code, &told["good"]), (2, &false.into()));
    let problems: Vec<(&str, &str)> = told["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (of["place"].as_str().unwrap(), of["message"].as_str().unwrap()))
        .collect();
    let wanted = [
        (1, "did you mean `GiB`?"),
        (5, "65534 is whatever user"),
        (5, "there is no user `no such user`"),
        (7, "`p` is no scope"),
        (3, "store_bytes_low must not be above store_bytes_max"),
    ];
    assert_eq!(problems.len(), wanted.len(), "{problems:?}");
    for ((place, message), (line, part)) in problems.iter().zip(wanted) {
        assert!(place.ends_with(&format!(":{line}")) && message.contains(part), "{problems:?}");
    }
}

#[test]
fn the_file_that_the_environment_names_is_read() {
    let daemon = Setup::new().prepare();
    let file = daemon.folder().join("some.toml");
    std::fs::write(&file, "max_age = \"7d\"\n").unwrap();
    let mut command = Command::new(binary("memod"));
    command.arg("check-config").env("MEMOD_CONFIG", &file).env("MEMOD_LOG", "warn");
    let (code, said) = Daemon::run_to_end(&mut command);
    assert_eq!(code, 0, "{said}");
    for line in [
        format!("the configuration is good: {}", file.display()),
        format!("max_age = 7days  ({}:1)", file.display()),
        "log = warn  ($MEMOD_LOG)".to_owned(),
    ] {
        assert!(said.contains(&line), "`{line}` is not in:\n{said}");
    }
}

#[test]
fn who_reads_the_settings_no_further_is_no_error() {
    let daemon = Setup::new().prepare();
    let mut checking = daemon.command();
    checking.arg("check-config").stderr(Stdio::piped());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = checking.stdout(writer).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

/// What is wrong with a line, beside its number.
const ODD: &[(&str, &[&str])] = &[
    ("store_bytes_max = \"10 parsecs\"", &["`parsecs` is no unit"]),
    ("scope_bytes_max = -1", &["a number of bytes or a size"]),
    ("user_bytes = { 0 = \"much\" }", &["user_bytes: 0: "]),
    ("max_age = \"7 fortnights\"", &["unknown time unit \"fortnights\""]),
    ("idle_exit = 5", &["a string is wanted, not integer"]),
    ("sync_interval = \"1000 years\"", &["must lie between"]),
    ("eviction = \"oldest\"", &["there are cost, lru, lfu and random"]),
    ("log = \"warning\"", &["`warning` is no level"]),
    ("log_format = \"xml\"", &["neither `auto`, `text`, `json` nor `journal`"]),
    ("conections_max = 5", &["did you mean `connections_max`?"]),
    ("[[grants]]", &[]),
    ("user = [1000]", &["did you mean `users`?"]),
    ("rights = [\"own\"]", &["`own` is no right"]),
    ("scopes = [\"noslash\"]", &["PROJECT/DOMAIN is wanted"]),
    ("[[grants]]", &[]),
    (
        "users = [\"of-that-name-is-nobody\", 65534, -1]",
        &["one without a name is given by number", "65534 is whatever user", "-1 is no number"],
    ),
    ("rights = [\"read\"]", &[]),
];

#[test]
fn every_odd_unit_key_name_and_user_is_told_with_a_hint() {
    let text: Vec<&str> = ODD.iter().map(|(line, _)| *line).collect();
    let daemon = Setup::new().config(text.join("\n")).prepare();
    let (code, said) = daemon.refused();
    assert_eq!(code, 2, "{said}");
    let mut told = said.lines();
    for ((line, hints), number) in ODD.iter().zip(1..) {
        for hint in *hints {
            let problem = told.next().unwrap_or_default();
            let place = format!("memod.toml:{number}: ");
            assert!(problem.contains(&place) && problem.contains(hint), "{line}: {problem}");
        }
    }
    assert_eq!(told.next(), None);
}

#[test]
fn budgets_that_contradict_each_other_are_told_before_a_store_is_touched() {
    let text = "store_bytes_max = 100\nstore_bytes_high = 200\nstore_bytes_low = 300\n";
    let daemon = Setup::new().config(text).prepare();
    let wanted = [
        "memod.toml:3: store_bytes_low must not be above store_bytes_high",
        "memod.toml:2: store_bytes_high must not be above store_bytes_max",
    ];
    assert_refused(daemon.refused(), 2, &wanted);
    assert!(!daemon.data().exists());
}

#[test]
fn a_filter_of_the_log_is_a_level_or_levels_of_parts() {
    for (log, is_good) in [
        ("warn", true),
        ("INFO", true),
        ("3", true),
        ("off", true),
        ("info,memod_store=debug", true),
        ("memod=trace", true),
        ("loud", false),
        ("info,memod_store", true),
        ("info,storee", false),
    ] {
        let daemon = Setup::new().prepare();
        let mut checking = daemon.command();
        checking.args(["check-config"]).env("MEMOD_LOG", log);
        let (code, said) = Daemon::run_to_end(&mut checking);
        assert_eq!(code == 0, is_good, "{log}: {said}");
    }
}

#[test]
fn metrics_cannot_be_where_clients_ask() {
    let daemon = Setup::new().prepare();
    let socket = daemon.socket();
    let text = format!("metrics = \"{}\"\n", socket.display());
    let daemon = Setup::new().config(text).prepare();
    let mut checking = daemon.command();
    let (code, said) = Daemon::run_to_end(checking.arg("check-config").arg("--socket").arg(socket));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("metrics must not be on the socket"), "{said}");
}
