//! The pages of `memo man` about memod say what memod says of itself.

use std::collections::BTreeSet;
use std::process::Command;

use harness::{Daemon, binary, run};

use crate::memo::ends;

/// What memod says to these arguments.
fn memod(arguments: &[&str]) -> String {
    let ran = run(Command::new(binary("memod")).args(arguments));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.text().to_owned()
}

/// A page, without the signs in front of hyphens.
fn page(name: &str) -> String {
    ends(&Daemon::new(), 0, &["man", name]).text().replace('\\', "")
}

/// What each paragraph with a hanging label has as its label, up to its first blank.
fn labels(page: &str) -> BTreeSet<&str> {
    let lines: Vec<&str> = page.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == ".TP");
    pairs.filter_map(|pair| pair[1].split_once(' ')?.1.split_whitespace().next()).collect()
}

#[test]
fn every_setting_has_a_paragraph() {
    let said = memod(&["check-config"]);
    let settings: BTreeSet<&str> =
        said.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert!(settings.len() > 20, "{said}");
    assert_eq!(labels(&page("memod.toml")), settings);
}

#[test]
fn every_option_and_command_of_memod_is_in_its_page() {
    let (said, page) = (memod(&["--help"]), page("memod.1"));
    let words = said.split_whitespace().map(|word| word.trim_end_matches([',', '.', ';']));
    let options: BTreeSet<&str> = words.filter(|word| word.starts_with("--")).collect();
    assert!(options.contains("--on-damage"), "{said}");
    let commands = said.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let commands: BTreeSet<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains("check-config"), "{said}");
    for told in options.union(&commands) {
        assert!(page.contains(told), "{told} is not in the page of memod");
    }
}
