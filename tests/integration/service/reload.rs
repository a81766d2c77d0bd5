//! `systemctl reload`: what the units have done, as far as it can be seen without systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{binary, run};

/// The commands of a unit's reload, in order, with this file as the configuration.
fn reload_of(unit: &str, config: &Path) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(unit);
    let unit = fs::read_to_string(path).expect("the unit is there");
    let lines = unit.lines().filter_map(|line| line.strip_prefix("ExecReload="));
    let word = |word: &str| match word {
        "/usr/bin/memod" => binary("memod").display().to_string(),
        other => other.replace("%t", "/run").replace("%C", "/var/cache"),
    };
    let words = |line: &str| -> Vec<String> {
        let given = line.split_whitespace().filter(|word| *word != "$MEMOD_OPTIONS").map(word);
        let mut words: Vec<String> = given.collect();
        if words[0] != "/bin/kill" {
            words.extend(["--config".to_owned(), config.display().to_string()]);
        }
        words
    };
    lines.map(words).collect()
}

#[test]
fn a_reload_with_a_broken_file_fails_before_the_daemon_hears_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("memod.toml");
    for unit in ["memod.service", "user/memod.service"] {
        let commands = reload_of(unit, &config);
        let [check, signal] = commands.as_slice() else { panic!("{unit}: {commands:?}") };
        assert_eq!(signal.join(" "), "/bin/kill -HUP $MAINPID", "{unit}");
        fs::write(&config, "max_age = \"1h\"\n").expect("written");
        let ran = run(Command::new(&check[0]).args(&check[1..]));
        assert_eq!(ran.code, Some(0), "{unit}: {ran:?}");
        fs::write(&config, "max_age = \"soon\"\n").expect("written");
        let ran = run(Command::new(&check[0]).args(&check[1..]));
        assert_eq!(ran.code, Some(2), "{unit}: {ran:?}");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("memod.toml:1: max_age: "), "{unit}: {ran:?}");
    }
}
