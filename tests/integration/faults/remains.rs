//! What is on a disk after a power cut: all that was synced, and of the rest what chance left.
//!
//! - Bytes last if their file was synced after they were written; a name lasts if its folder was
//!   synced after it was made, changed or removed. Syncing a file does not keep its name.
//! - Of a file's changes that were not synced, one of these is left, by chance: none; all; those
//!   before some moment, the last one torn; some blocks of 4 KiB and not others; only the length,
//!   with zeros in it.
//! - Of a folder's changes that were not synced, those before some moment are left: file systems
//!   with a journal keep the order of changes within a folder. Different folders and files know
//!   nothing of each other.
//! - What was written before a sync that failed is not kept by a later one that succeeds: the
//!   kernel may have thrown it away and forgotten that (`fsyncgate`).
//!
//! **Does not** know files that were there before the journal began, nor renames from one folder
//! into another.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use harness::Random;

use super::journal::{Journal, What};

/// What a disk writes at once.
const BLOCK_BYTES: usize = 4096;

/// What a name stands for.
#[derive(Debug, Clone)]
enum Node {
    File(u64),
    Folder(String),
}

/// A change of a folder's names: a node at a name, or none any more.
type Naming = Vec<(String, Option<Node>)>;

/// A change of what is in a file.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Range<usize> },
    Truncate { bytes: usize },
}

/// Changes of one thing, each with the number of its record, and which of them were synced.
#[derive(Debug)]
struct History<T> {
    changes: Vec<(usize, T)>,
    synced: Vec<bool>,
    /// Changes before this record do not count for a later sync.
    forsaken: usize,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { changes: Vec::new(), synced: Vec::new(), forsaken: 0 }
    }
}

impl<T> History<T> {
    fn add(&mut self, record: usize, change: T) {
        self.changes.push((record, change));
        self.synced.push(false);
    }

    fn sync(&mut self, began: usize, done: bool) {
        if !done {
            self.forsaken = self.forsaken.max(began);
            return;
        }
        for ((record, _), synced) in self.changes.iter().zip(&mut self.synced) {
            *synced |= (self.forsaken..began).contains(record);
        }
    }
}

/// Everything that was done to a disk before the power was cut.
struct Disk<'a> {
    journal: &'a Journal,
    files: BTreeMap<u64, History<Change>>,
    /// What later processes call files that were there before them.
    same: BTreeMap<u64, u64>,
    folders: BTreeMap<String, History<Naming>>,
    left: Left,
}

/// What is left of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// What chance leaves.
    ByChance,
    /// All but what is in this file.
    AllBut(u64),
}

fn split(path: &str) -> (String, String) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    (folder.to_owned(), name.to_owned())
}

impl<'a> Disk<'a> {
    fn new(journal: &'a Journal, cut: usize, left: Left) -> Self {
        let (files, same, folders) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut disk = Self { journal, files, same, folders, left };
        let mut now: BTreeMap<String, Node> = BTreeMap::new();
        for (number, record) in journal.records[..cut].iter().enumerate() {
            match record.what.clone() {
                What::Start => {}
                What::Found { file, path } => {
                    let Some(Node::File(first)) = now.get(&path) else {
                        panic!("nobody has made {path}")
                    };
                    disk.same.insert(file, *first);
                }
                What::Create { file, path } => {
                    disk.name(number, &mut now, &path, Some(Node::File(file)));
                }
                What::Mkdir { path } => {
                    disk.name(number, &mut now, &path, Some(Node::Folder(path.clone())));
                }
                What::Unlink { path } => disk.name(number, &mut now, &path, None),
                What::Link { from, to } => {
                    let node = now.get(&from).cloned();
                    disk.name(number, &mut now, &to, node);
                }
                What::Rename { from, to } => {
                    let node = now.remove(&from).expect("what is renamed is there");
                    let ((folder, from), (into, name)) = (split(&from), split(&to));
                    assert_eq!(folder, into, "such a rename is not known here");
                    now.insert(to, node.clone());
                    let naming = vec![(from, None), (name, Some(node))];
                    disk.folders.entry(folder).or_default().add(number, naming);
                }
                What::Write { file, offset, bytes } => {
                    disk.file(file).add(number, Change::Write { offset, bytes });
                }
                What::Truncate { file, bytes } => {
                    disk.file(file).add(number, Change::Truncate { bytes });
                }
                What::Sync { file, began, done } => disk.file(file).sync(began, done),
                What::SyncFolder { path, began, done } => {
                    disk.folders.entry(path).or_default().sync(began, done);
                }
            }
        }
        disk
    }

    fn file(&mut self, number: u64) -> &mut History<Change> {
        let number = self.same.get(&number).copied().unwrap_or(number);
        self.files.entry(number).or_default()
    }

    fn name(
        &mut self,
        record: usize,
        now: &mut BTreeMap<String, Node>,
        path: &str,
        node: Option<Node>,
    ) {
        match &node {
            Some(node) => now.insert(path.to_owned(), node.clone()),
            None => now.remove(path),
        };
        let (folder, name) = split(path);
        self.folders.entry(folder).or_default().add(record, vec![(name, node)]);
    }

    /// Writes what is left of a folder, and of all in it.
    fn leave(&self, folder: &str, to: &Path, random: &mut Random) {
        let Some(history) = self.folders.get(folder) else { return };
        let last = history.synced.iter().rposition(|synced| *synced).map_or(0, |last| last + 1);
        let kept = match self.left {
            Left::ByChance => last + random.below(history.changes.len() - last + 1),
            Left::AllBut(_) => history.changes.len(),
        };
        let mut names: BTreeMap<&str, &Node> = BTreeMap::new();
        for (name, node) in history.changes[..kept].iter().flat_map(|(_, naming)| naming) {
            match node {
                Some(node) => names.insert(name, node),
                None => names.remove(name.as_str()),
            };
        }
        for (name, node) in names {
            let path = to.join(name);
            match node {
                Node::Folder(folder) => {
                    fs::create_dir(&path).unwrap();
                    self.leave(folder, &path, random);
                }
                Node::File(number) => {
                    let nothing = History::default();
                    let history = self.files.get(number).unwrap_or(&nothing);
                    let chance = match self.left {
                        Left::ByChance => random.below(5),
                        Left::AllBut(gone) => 4 * usize::from(gone == *number),
                    };
                    fs::write(path, self.left_of(history, chance, random)).unwrap();
                }
            }
        }
    }

    /// What is left of a file: all (0), what came before some moment (1), some blocks (2), the
    /// length (3), or what was synced (4).
    fn left_of(&self, history: &History<Change>, chance: usize, random: &mut Random) -> Vec<u8> {
        let pending = history.synced.iter().filter(|synced| !**synced).count();
        let mut whole = random.below(pending + 1);
        let mut content = Vec::new();
        for ((_, change), synced) in history.changes.iter().zip(&history.synced) {
            let bytes = match change {
                Change::Write { bytes, .. } => self.journal.content(bytes),
                Change::Truncate { .. } => &[],
            };
            match (synced, chance) {
                (true, _) | (false, 0) => apply(&mut content, change, bytes),
                (false, 1) if whole > 0 => {
                    whole -= 1;
                    apply(&mut content, change, bytes);
                    if whole == 0 && !bytes.is_empty() {
                        tear(&mut content, change, bytes.len(), random);
                    }
                }
                (false, 2) => apply_some(&mut content, change, bytes, random),
                (false, 3) => apply(&mut content, change, &vec![0; bytes.len()]),
                (false, _) => {}
            }
        }
        content
    }
}

fn apply(content: &mut Vec<u8>, change: &Change, bytes: &[u8]) {
    match change {
        Change::Truncate { bytes } => content.resize(*bytes, 0),
        Change::Write { offset, .. } => {
            let end = offset + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*offset..end].copy_from_slice(bytes);
        }
    }
}

/// Lets the end of the last write be lost.
fn tear(content: &mut Vec<u8>, change: &Change, bytes: usize, random: &mut Random) {
    if let Change::Write { offset, .. } = change
        && content.len() == offset + bytes
    {
        content.truncate(offset + random.below(bytes));
    }
}

/// Applies a write to some of the blocks that it concerns.
fn apply_some(content: &mut Vec<u8>, change: &Change, bytes: &[u8], random: &mut Random) {
    let Change::Write { offset, .. } = change else {
        if random.below(2) == 0 {
            apply(content, change, bytes);
        }
        return;
    };
    let mut begin = 0;
    while begin < bytes.len() {
        let end = bytes.len().min(begin + BLOCK_BYTES - (offset + begin) % BLOCK_BYTES);
        if random.below(2) == 0 {
            let part = Change::Write { offset: offset + begin, bytes: 0..0 };
            apply(content, &part, &bytes[begin..end]);
        }
        begin = end;
    }
}

/// Writes into the folder `to`, which is to be made, what is left of the root if the power is cut
/// before this record.
pub(super) fn leave(journal: &Journal, cut: usize, left: Left, random: &mut Random, to: &Path) {
    fs::create_dir(to).unwrap();
    Disk::new(journal, cut, left).leave("", to, random);
}

#[test]
fn only_what_was_synced_is_sure_to_last() {
    let lines = "1 mkdir data\n1 syncdir  1 done\n1 create 7 data/a\n1 write 7 0 4\nkept\
        1 sync 7 4 done\n1 syncdir data 5 done\n1 write 7 4 4\nlost1 create 8 data/b\n\
        1 write 8 0 1\nx1 sync 8 9 failed\n1 sync 8 10 done\n";
    let journal = Journal::parse(lines.as_bytes().to_vec());
    assert_eq!(journal.records.len(), 11, "{:?}", journal.records);
    let mut random = Random::seeded();
    let (mut ends, mut others) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..200 {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("left");
        leave(&journal, journal.records.len(), Left::ByChance, &mut random, &to);
        let left = fs::read(to.join("data/a")).expect("its name was synced");
        assert!(left.starts_with(b"kept"), "{left:?}");
        *ends.entry(left[4..].to_vec()).or_insert(0) += 1;
        *others.entry(fs::read(to.join("data/b")).ok()).or_insert(0) += 1;
    }
    for end in [&b""[..], b"lost", b"l", &[0; 4]] {
        assert!(ends.contains_key(end), "it may end in {end:?}: {ends:?}");
    }
    // A file without a synced name may be gone, and what a failed sync has lost stays lost.
    for end in [None, Some(b"x".to_vec()), Some(b"".to_vec())] {
        assert!(others.contains_key(&end), "it may be {end:?}: {others:?}");
    }
}
