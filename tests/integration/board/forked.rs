//! A process that forks while it has a board (issue 5): the child uses nothing of its parent's.

use std::process;

use memod_client::Client;
use memod_protocol::Selector;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::{hit, miss, warm, warmed};

/// Runs this in a child process; whether it came to its end.
#[expect(unsafe_code, reason = "a forked process has one thread of its parent's many")]
#[expect(clippy::disallowed_methods, reason = "its parent's destructors are not its own to run")]
fn in_child(work: impl FnOnce()) -> Pid {
    // SAFETY: the C library has its own locks of memory in order after a fork, the child does
    // nothing but what the client promises to be possible then, and leaves without unwinding.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            process::exit(i32::from(done.is_err()));
        }
    }
}

#[track_caller]
fn ended_well(child: Pid) {
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}

#[test]
fn s34_a_child_has_a_board_of_its_own_and_leaves_its_parents_alone() {
    let (daemon, client, one) = warmed("forked", "content");
    (0..10).for_each(|_| assert!(hit(&client, &one).1));
    let had = client.board_hits();
    let children: Vec<_> = (0..3)
        .map(|_| {
            in_child(|| {
                assert_eq!(hit(&client, &one), ("content".to_owned(), false), "not its parent's");
                assert_eq!(client.board_hits(), had);
                warm(&client, &one);
                (0..100).for_each(|_| assert!(hit(&client, &one).1));
                // What it had is told by itself; its parent's hits are not told a second time.
                assert!(client.stats().unwrap().hits > 100);
            })
        })
        .collect();
    (0..100).for_each(|_| assert!(hit(&client, &one).1, "a fork costs the parent nothing"));
    children.into_iter().for_each(ended_well);
    assert!(hit(&client, &one).1, "nor does the end of a child");
    let stats = client.stats().unwrap();
    // The parent's 111 and what it took to warm up, and the same of each child's.
    assert!((111 + 3 * 101..600).contains(&stats.hits), "{}", stats.hits);
    assert!(stats.misses == 0 && stats.hits >= client.board_hits() + 3 * 101);
    drop(daemon);
}

#[test]
fn s24_a_child_sees_what_has_been_forgotten_since() {
    let (daemon, client, one) = warmed("forgotten", "content");
    assert!(hit(&client, &one).1);
    let key = one.0.key().unwrap();
    assert_eq!(daemon.connect().invalidate(Selector::Keys(vec![key]), false), 1);
    let look = |client: &Client| assert_eq!(miss(client, &one).name(), "invalidated");
    ended_well(in_child(|| look(&client)));
    look(&client);
}
