//! Who somebody is, where that is odd: in user namespaces, in a great many groups, without a name
//! (issue 6).

use std::fmt::Write;
use std::fs;
use std::process::Command;

use harness::{Raw, Setup, connected_in_groups, run};
use memod_protocol::MissReason;

use super::house::{ALICE, BOB, GRANTS, House, READERS, STRANGER, call};

const OUT: &str = "o0:string";
/// More groups than fit where most fit, and more members than any buffer begins with.
const MANY: u32 = 10_000;

/// The same command in a user namespace of its own, in which its user is called root.
fn as_root_of_a_namespace(command: &Command) -> Command {
    use std::os::unix::process::CommandExt;
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user"]).arg(command.get_program());
    unshare.args(command.get_args()).env_clear().current_dir("/");
    for (name, value) in command.get_envs() {
        unshare.env(name, value.expect("each has a value"));
    }
    unshare.uid(BOB).gid(BOB);
    unshare
}

#[test]
fn who_is_root_of_a_namespace_of_its_own_is_who_it_was() {
    let Some(house) = House::new(GRANTS) else { return };
    house.stores(0, "alpha", "there");
    let mut lookup = house.command(BOB, "alpha", &call("lookup", "there", OUT));
    let told = run(&mut as_root_of_a_namespace(&lookup));
    assert_eq!((told.code, &told.json()["reason"]), (Some(1), &"forbidden".into()), "{told:?}");
    lookup = house.command(BOB, "beta", &call("put", "his", "o0:string=x"));
    assert_eq!(run(&mut as_root_of_a_namespace(&lookup)).code, Some(0));
    lookup = house.command(BOB, "beta", &call("lookup", "his", OUT));
    let told = run(&mut lookup).json();
    assert_eq!(told["provenance"]["writer_uid"], BOB, "{told}");
}

#[test]
fn a_daemon_in_a_namespace_takes_nobody_for_its_own_user() {
    let within = ["unshare", "--user", "--map-root-user"].map(str::to_owned);
    let Some(house) = House::of(Setup::new().config(GRANTS).within(within)) else { return };
    house.stores(0, "alpha", "there");
    // All others are 65534 here, whatever they are outside, and nothing is granted to that.
    for uid in [ALICE, BOB, STRANGER] {
        let mut command = house.command(uid, "alpha", &call("put", "t", "o0:string=x"));
        let refused = run(&mut command);
        let told = refused.json_error();
        assert_eq!(told["message"], "user 65534 may not write alpha/development", "{told}");
        let told = house.json(1, uid, "alpha", &call("lookup", "there", OUT));
        assert_eq!(told["reason"], "forbidden", "{told}");
    }
}

#[test]
fn a_group_of_ten_thousand_members_is_granted_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut groups = fs::read_to_string("/etc/group").unwrap();
    write!(groups, "crowd:x:{READERS}:").unwrap();
    (0..MANY).for_each(|member| write!(groups, "member-of-the-crowd-{member},").unwrap());
    groups.push_str("last\n");
    let file = folder.path().join("group");
    fs::write(&file, groups).unwrap();
    let over = "mount --bind \"$0\" /etc/group && exec \"$@\"";
    let file = file.display().to_string();
    let within = ["unshare", "--mount", "sh", "-c", over, &file].map(str::to_owned);
    let config = GRANTS.replace("groups = [30000]", "groups = [\"crowd\"]");
    let Some(house) = House::of(Setup::new().config(config).within(within)) else { return };
    // By the groups of the process, whether it is listed in them or not; and nobody else.
    assert!(finds(&house, READERS, &[]) && finds(&house, STRANGER, &[READERS]));
    assert!(!finds(&house, STRANGER, &[]));
}

#[test]
fn a_peer_in_ten_thousand_groups_is_in_each_of_them() {
    let Some(house) = House::new(GRANTS) else { return };
    let many: Vec<u32> = (0..MANY).map(|number| READERS + 1 + number).collect();
    assert!(!finds(&house, STRANGER, &many));
    for at in [0, many.len() / 2, many.len()] {
        let mut with = many.clone();
        with.insert(at, READERS);
        assert!(finds(&house, STRANGER, &with), "{at}");
    }
}

/// Whether a stranger in these groups finds an entry that READERS may read.
fn finds(house: &House, gid: u32, groups: &[u32]) -> bool {
    let one = harness::call("there").scope("alpha", "development");
    house.daemon.connect().put(one.put(&[("o0", b"x")]));
    let socket = house.daemon.socket();
    let mut raw = Raw::over(connected_in_groups(&socket, STRANGER, gid, groups));
    raw.greet();
    raw.is_welcome();
    match raw.lookup(&one) {
        Ok(_) => true,
        Err(miss) => {
            assert_eq!(miss.reason, MissReason::Forbidden);
            false
        }
    }
}
