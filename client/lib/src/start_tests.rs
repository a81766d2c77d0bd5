//! Tests of starting the user's own daemon.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use memod_protocol::{Request, Response};

use super::*;
use crate::builder::Start;
use crate::client::Client;
use crate::testing::Peer;

/// Set for the process that plays the daemon: where it listens.
const SERVE: &str = "MEMOD_CLIENT_TEST_SERVE";

fn environment(root: &Path) -> Environment {
    Environment {
        runtime_dir: Some(root.join("runtime")),
        cache_home: Some(root.join("cache")),
        ..Environment::default()
    }
}

/// A program at this place.
fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Plays the daemon: answers, and ends when it is asked for its status.
fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    let (stop, stopped) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut peer, stop) = (Peer::new(stream.unwrap()), stop.clone());
            std::thread::spawn(move || {
                peer.greet();
                while let Some((id, request, _)) = peer.request() {
                    if request == Request::Status {
                        stop.send(()).unwrap();
                    }
                    peer.respond(id, Response::Pong, b"");
                }
            });
        }
    });
    stopped.recv().unwrap();
}

#[test]
fn however_many_start_at_once_there_is_one_daemon() {
    if let Some(socket) = std::env::var_os(SERVE) {
        return serve(Path::new(&socket));
    }
    let root = tempfile::tempdir().unwrap();
    let daemon = root.path().join("memod");
    let (count, arguments) = (root.path().join("count"), root.path().join("arguments"));
    let this = std::env::current_exe().unwrap();
    script(
        &daemon,
        &format!(
            "echo started >> {count}\necho \"$*\" > {arguments}\n\
             {SERVE}=\"$3\" exec {this} --exact \
             start::tests::however_many_start_at_once_there_is_one_daemon",
            count = count.display(),
            arguments = arguments.display(),
            this = this.display(),
        ),
    );
    let environment = Environment { daemon: Some(daemon), ..environment(root.path()) };
    let client = || Client::builder().environment(environment.clone()).start(Start::Own).build();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| client().ping().unwrap());
        }
    });
    assert_eq!(std::fs::read_to_string(count).unwrap(), "started\n");
    let socket = environment.own().path;
    assert_eq!(
        std::fs::read_to_string(arguments).unwrap(),
        format!(
            "serve --socket {} --data {} --idle-exit 15m --on-damage set_aside\n",
            socket.display(),
            environment.own_data().display()
        )
    );
    for directory in [socket.parent().unwrap(), &environment.own_data()] {
        assert_eq!(std::fs::metadata(directory).unwrap().mode() & 0o7777, 0o700);
    }
    assert_eq!(own_daemon_in(&environment, "test").unwrap(), socket);
    assert!(client().status().is_err(), "it ends instead of telling");
}

#[test]
fn what_a_service_manager_gave_this_process_is_not_passed_on() {
    let place = Place { socket: Path::new("/s"), data: Path::new("/d"), client: "test" };
    let log = crate::spool::file().unwrap();
    let command = place.command(Path::new("/memod"), log);
    for variable in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"] {
        assert!(command.get_envs().any(|(name, value)| name == variable && value.is_none()));
    }
}

#[test]
fn a_daemon_that_ends_at_once_is_reported_with_its_last_words() {
    let root = tempfile::tempdir().unwrap();
    let daemon = root.path().join("memod");
    script(&daemon, "echo 'memod: the store is of a newer format' >&2; exit 3");
    let environment = Environment { daemon: Some(daemon), ..environment(root.path()) };
    let failed = own_daemon_in(&environment, "test").unwrap_err();
    assert!(matches!(failed, Error::Start { .. }));
    assert_eq!(failed.code(), 3);
    let text = failed.to_string();
    assert!(text.contains("exit status: 3"), "{text}");
    assert_eq!(text.matches("the store is of a newer format").count(), 1, "{text}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let root = tempfile::tempdir().unwrap();
    let absent = root.path().join("absent");
    let environment = Environment { daemon: Some(absent), ..environment(root.path()) };
    let failed = own_daemon_in(&environment, "test").unwrap_err();
    assert!(failed.to_string().contains("$MEMOD_DAEMON"), "{failed}");
    let on_path = Environment {
        daemon: None,
        path: Some(std::env::join_paths([root.path().join("bin")]).unwrap()),
        ..environment
    };
    assert!(matches!(program(&on_path), Err(Error::Start { .. })));
    std::fs::create_dir(root.path().join("bin")).unwrap();
    script(&root.path().join("bin/memod"), "exit 0");
    assert_eq!(program(&on_path).unwrap(), root.path().join("bin/memod"));
}

#[test]
fn nothing_is_started_unless_it_is_wanted() {
    let root = tempfile::tempdir().unwrap();
    let daemon = root.path().join("memod");
    let started = root.path().join("started");
    script(&daemon, &format!("touch {}", started.display()));
    let environment = Environment { daemon: Some(daemon), ..environment(root.path()) };
    let forbidding = Environment { no_start: true, ..environment.clone() };
    for (environment, start) in [(environment, Start::Never), (forbidding, Start::Own)] {
        let client = Client::builder().environment(environment).start(start).build();
        assert!(matches!(client.ping(), Err(Error::NoDaemon { .. })));
    }
    assert!(!started.exists());
}

#[test]
fn a_directory_that_others_could_use_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let environment = environment(root.path());
    let data = environment.own_data();
    std::fs::create_dir_all(&data).unwrap();
    for mode in [0o720, 0o702, 0o777] {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
        let failed = own_daemon_in(&environment, "test").unwrap_err();
        assert!(matches!(&failed, Error::NotOurs { path, .. } if *path == data), "{failed}");
    }
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    private_directory(&data).unwrap();
    let link = root.path().join("link");
    symlink(&data, &link).unwrap();
    private_directory(&link).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&data, Some(12345), None).unwrap();
        assert!(matches!(private_directory(&link), Err(Error::NotOurs { .. })));
    } else {
        assert!(matches!(private_directory(Path::new("/usr")), Err(Error::NotOurs { .. })));
    }
    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(private_directory(&file).is_err());
}

#[test]
fn the_end_of_the_log_is_shown_from_where_this_daemon_began() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("memod.log");
    assert!(tail(&path, 0).contains("says nothing"));
    let old = "an old line\n".repeat(1000);
    std::fs::write(&path, format!("{old}new 1\n\nnew 2\n")).unwrap();
    let shown = tail(&path, old.len() as u64);
    assert!(shown.ends_with(":\nnew 1\nnew 2"), "{shown}");
    std::fs::write(&path, "x".repeat(usize::try_from(LOG_BYTES_MAX).unwrap() + 1)).unwrap();
    assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
}
