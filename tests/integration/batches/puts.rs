//! Puts of many runs are what as many puts are (semantics 17, 18 and 20).

use bytes::Bytes;
use harness::{Daemon, Setup};
use memod_client::{Client, Error, Mode, PutOutput, Source};
use memod_protocol::{LiteralType, PutOutcome};

use super::{asking, content, found, look, numbered, run};

fn populated(outcome: &Result<PutOutcome, Error>) -> bool {
    matches!(outcome, Ok(PutOutcome::Populated))
}

#[test]
fn s17_a_thousand_runs_are_stored_and_then_there_already() {
    let (daemon, calls) = (Daemon::new(), numbered("stored", 1000));
    let client = asking(&daemon);
    let runs = || calls.iter().enumerate().map(|(number, call)| run(call, &content(number)));
    let outcomes = client.put_many(runs().collect());
    assert_eq!(outcomes.len(), 1000);
    assert!(outcomes.iter().all(populated));
    for (number, outcome) in look(&client, &calls).iter().enumerate() {
        assert_eq!(found(outcome).unwrap(), content(number));
    }
    for outcome in client.put_many(runs().collect()) {
        let Ok(PutOutcome::Exists(winner)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(winner.run.compute_ns, Some(2_000_000_000));
    }
    assert!(client.put_many(Vec::new()).is_empty());
    assert_eq!(client.stats().unwrap().whole.unwrap().puts, 1000);
}

#[tokio::test]
async fn s17_the_async_client_does_the_same() {
    let (daemon, calls) = (Daemon::new(), numbered("async", 300));
    let client = Client::builder().socket(daemon.socket()).build_async();
    let runs = calls.iter().enumerate().map(|(number, call)| run(call, &content(number)));
    let outcomes = client.put_many(runs.collect()).await;
    assert!(outcomes.len() == 300 && outcomes.iter().all(populated));
    let client = asking(&daemon);
    for (number, outcome) in look(&client, &calls).iter().enumerate() {
        assert_eq!(found(outcome).unwrap(), content(number));
    }
}

#[test]
fn s21_a_wrong_run_does_not_spoil_the_others() {
    let (daemon, mut calls) = (Daemon::new(), numbered("spoiled", 100));
    let client = asking(&daemon);
    calls[40].task.clear();
    let mut runs: Vec<_> = calls.iter().map(|call| run(call, b"x")).collect();
    runs[50].outputs.clear();
    runs[60].options.run.node = Some(String::new());
    runs[70].outputs[0].source = Source::File("/nowhere/at/all".into());
    runs[80].outputs[0].literal_type = LiteralType::Bytes;
    let outcomes = client.put_many(runs);
    for (number, outcome) in outcomes.iter().enumerate() {
        let is_wrong = [40, 50, 60, 70, 80].contains(&number);
        assert_eq!(populated(outcome), !is_wrong, "run {number}: {outcome:?}");
    }
    assert_eq!(client.stats().unwrap().whole.unwrap().entries, 95);
    let client = Client::builder().socket(daemon.socket()).mode(Mode::ReadOnly).build();
    let outcomes = client.put_many(calls.iter().map(|call| run(call, b"y")).collect());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Invalid(_)))));
}

#[test]
fn s21_what_the_daemon_refuses_is_refused_alone() {
    let daemon = Setup::new().config("scope_bytes_max = \"1 MiB\"").start();
    let (client, calls) = (asking(&daemon), numbered("refused", 30));
    let content = |number| if number == 7 { vec![b'x'; 1_500_000] } else { content(number) };
    let runs = calls.iter().enumerate().map(|(number, call)| run(call, &content(number)));
    for (number, outcome) in client.put_many(runs.collect()).iter().enumerate() {
        match outcome {
            Err(Error::Daemon(error)) if number == 7 => {
                assert_eq!(error.code, memod_protocol::ErrorCode::OverBudget);
            }
            other => assert!(populated(other), "run {number}: {other:?}"),
        }
    }
}

#[test]
fn s18_runs_of_one_call_are_stored_in_their_order() {
    let (daemon, calls) = (Daemon::new(), numbered("again", 3));
    let client = asking(&daemon);
    // Some have to be uploaded, and some are read from elsewhere.
    let length = |number: usize| if number % 7 == 3 { 3_000_000 } else { number };
    for last in [20_usize, 24, 25, 31, 59] {
        let mut runs: Vec<_> = (0..=last)
            .map(|number| {
                let mut run = run(&calls[number % 3], &vec![b'x'; length(number)]);
                run.options.overwrite = true;
                run
            })
            .collect();
        let bytes = Bytes::from(vec![b'x'; length(last)]);
        runs[last].outputs = vec![PutOutput {
            name: "o0".to_owned(),
            literal_type: LiteralType::String,
            source: Source::Reader(Box::new(std::io::Cursor::new(bytes))),
        }];
        assert!(client.put_many(runs).iter().all(populated));
        for (index, outcome) in look(&client, &calls).iter().enumerate() {
            let latest = (0..=last).rev().find(|number| number % 3 == index).unwrap();
            assert_eq!(found(outcome).unwrap().len(), length(latest), "up to {last}, call {index}");
        }
    }
}

#[test]
fn s20_a_daemon_that_is_killed_in_the_middle_has_what_it_said() {
    let mut daemon = Daemon::new();
    for round in 0..6_u32 {
        let calls = numbered(&format!("killed {round}"), 600);
        let client = asking(&daemon);
        let outcomes = std::thread::scope(|scope| {
            let runs = calls.iter().enumerate().map(|(number, call)| run(call, &content(number)));
            let putting = scope.spawn(|| client.put_many(runs.collect()));
            let mut raw = daemon.connect();
            harness::eventually("some are stored", || raw.stats().puts > u64::from(round) * 30);
            daemon.kill();
            putting.join().unwrap()
        });
        assert_eq!(outcomes.len(), 600);
        daemon.start().unwrap();
        let client = asking(&daemon);
        for (number, (found_now, outcome)) in
            look(&client, &calls).iter().zip(&outcomes).enumerate()
        {
            match (found(found_now), outcome) {
                (Some(bytes), _) => assert_eq!(bytes, content(number)),
                (None, Err(_)) => {}
                (None, Ok(outcome)) => panic!("{number} was {outcome:?}, and is not there"),
            }
        }
    }
}
