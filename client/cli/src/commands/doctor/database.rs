//! What can be told of a store without opening it.
//!
//! **Does not** read what is stored: a database that looks sound here may still be damaged, which
//! `memo verify` finds.

use std::fs;
use std::io;
use std::path::Path;

use super::Check;
use super::places::unseen;

const NAME: &str = "damage";
/// Names the file from which the database is read.
const CURRENT: &str = "CURRENT";

/// What a damaged store has left behind, and what is missing for it to be opened.
pub(super) fn damage(data: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    match fs::symlink_metadata(data.join("damaged")) {
        Ok(_) => {
            let advice = "save what is good with `memo export`, restart the daemon with \
                          `--on-damage set_aside`, then `memo import`";
            checks.push(Check::failed(NAME, "the store has refused changes", advice));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => checks.push(unseen(NAME, data, &error)),
    }
    checks.extend(missing(data));
    checks.extend(set_aside(data));
    checks
}

/// Why the database in a data directory will not be opened, if that can be seen.
fn missing(data: &Path) -> Option<Check> {
    let database = data.join("rocksdb");
    match problem(&database) {
        Ok(None) => None,
        Ok(Some(problem)) => {
            let advice = format!(
                "start the daemon, which mends what it can; else, since what is in it can be \
                 computed again, start it with `--on-damage set_aside`, or move {} away",
                database.display()
            );
            Some(Check::failed(NAME, problem, advice))
        }
        Err(error) => Some(unseen(NAME, &database, &error)),
    }
}

fn problem(database: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(database) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let current = database.join(CURRENT);
    let shown = current.display();
    let text = match fs::read(&current) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A crash while it was being made leaves no more than an empty log.
            for entry in entries {
                if holds_data(&entry?)? {
                    return Ok(Some(format!("{shown} is missing")));
                }
            }
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let name = String::from_utf8(text).ok();
    let name = name.as_deref().and_then(|text| text.strip_suffix('\n')).filter(|name| {
        let digits = name.strip_prefix("MANIFEST-").unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some(name) = name else {
        return Ok(Some(format!("{shown} does not say what it should")));
    };
    match fs::metadata(database.join(name)) {
        Ok(of) if of.len() > 0 => Ok(None),
        Ok(_) => Ok(Some(format!("{name}, which {shown} names, is empty"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Some(format!("{name}, which {shown} names, is missing")))
        }
        Err(error) => Err(error),
    }
}

fn holds_data(entry: &fs::DirEntry) -> io::Result<bool> {
    let path = entry.path();
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("sst" | "blob") => true,
        Some("log") => entry.metadata()?.len() > 0,
        _ => false,
    })
}

fn set_aside(data: &Path) -> Option<Check> {
    let entries = fs::read_dir(data).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let aside: Vec<String> = names.filter(|name| name.starts_with("damaged-")).collect();
    if aside.is_empty() {
        return None;
    }
    let found = format!("set aside in {}: {}", data.display(), aside.join(", "));
    Some(Check::warning(NAME, found, "remove them when nothing in them is wanted any more"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn what_a_damaged_store_left_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(damage(folder.path()), []);
        fs::create_dir(folder.path().join("damaged-2026-11-22")).expect("a folder");
        let aside = damage(folder.path());
        assert_eq!(aside[0].verdict, Verdict::Warning);
        assert!(aside[0].found.contains("damaged-2026-11-22"), "{aside:?}");
        fs::write(folder.path().join("damaged"), "why").expect("a file");
        assert_eq!(damage(folder.path())[0].verdict, Verdict::Failed);
    }

    #[test]
    fn a_database_that_will_not_open_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("rocksdb");
        let write = |name: &str, text: &str| fs::write(database.join(name), text).expect("a file");
        let found = || damage(folder.path()).into_iter().map(|check| check.found).next();
        assert_eq!(found(), None, "there is none");
        fs::create_dir(&database).expect("a folder");
        write("000004.log", "");
        assert_eq!(found(), None, "it was being made");
        write("000004.log", "something");
        assert!(found().expect("a check").ends_with("CURRENT is missing"));
        for wrong in ["garbage", "MANIFEST-\n", "MANIFEST-000005", "MANIFEST-../x\n"] {
            write(CURRENT, wrong);
            assert!(found().expect("a check").contains("does not say"), "{wrong}");
        }
        write(CURRENT, "MANIFEST-000005\n");
        assert!(found().expect("a check").contains("is missing"));
        write("MANIFEST-000005", "");
        assert!(found().expect("a check").contains("is empty"));
        write("MANIFEST-000005", "something");
        assert_eq!(found(), None);
    }
}
