//! What is looked at without asking the daemon is what it would say, or is not there.

use std::time::Duration;

use harness::{call, eventually};
use memod_client::{Client, TaskIdentity};
use memod_protocol::Selector;

use super::{CallBuilder, text, warmed};

fn glance(client: &Client, of: &CallBuilder, max_age: Option<Duration>) -> Option<String> {
    let task = TaskIdentity::of(&of.0).unwrap();
    client.glance(&task.know(&of.0).unwrap(), max_age).map(|hit| text(&hit))
}

#[test]
fn s3_a_known_call_is_had_at_a_glance_until_it_is_invalidated() {
    let (daemon, client, one) = warmed("glance", "content");
    assert_eq!(glance(&client, &one, None).as_deref(), Some("content"));
    assert_eq!(glance(&client, &call("another task"), None), None);
    let elsewhere = call("glance").scope("another project", "development");
    assert_eq!(glance(&client, &elsewhere, None), None);
    assert_eq!(daemon.connect().invalidate(Selector::Keys(vec![one.0.key().unwrap()]), false), 1);
    assert_eq!(glance(&client, &one, None), None);
}

#[test]
fn s19_what_is_too_old_is_not_had_at_a_glance() {
    let (_daemon, client, one) = warmed("old", "content");
    let long = Duration::from_secs(3600);
    assert_eq!(glance(&client, &one, Some(long)).as_deref(), Some("content"));
    assert_eq!(glance(&client, &one, Some(Duration::ZERO)).as_deref(), Some("content"));
    // It gets a millisecond old, and no more than that is wanted.
    harness::eventually("it is too old", || {
        glance(&client, &one, Some(Duration::from_millis(1))).is_none()
    });
}

#[test]
fn s34_a_daemon_that_was_killed_is_not_glanced_at() {
    let (mut daemon, client, one) = warmed("killed", "content");
    assert!(glance(&client, &one, None).is_some());
    daemon.kill();
    // It may be believed for the millisecond after it was last seen to live.
    eventually("it is not believed", || glance(&client, &one, None).is_none());
}
