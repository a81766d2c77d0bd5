//! A small pipeline of tasks over the files in a folder: which words do they have in common?
//!
//! Run it twice, with or without a daemon: `cargo run -p memod-client --example words -- FOLDER`.
//! The second run finds what the first has counted; change a file, and only that one is counted
//! again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use std::{env, fs, io};

use memod_client as memod;
use memod_client::File;

/// How often each word stands in a text.
type Counts = BTreeMap<String, u64>;

/// What the files of a folder have in common.
#[derive(Debug, memod::Literal)]
#[literal(outputs)]
struct Summary {
    words: u64,
    /// The words that stand in the most files, with in how many.
    common: Vec<(String, u64)>,
}

#[memod::task(cache_version = "1", project = "examples", serialize)]
fn count_words(text: File) -> io::Result<Counts> {
    let mut counts = Counts::new();
    let content = text.bytes()?;
    for word in String::from_utf8_lossy(&content).split(|letter: char| !letter.is_alphabetic()) {
        if word.len() > 3 {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    Ok(counts)
}

#[memod::task(cache_version = "1", project = "examples", ignore(verbose))]
fn summarize(files: Vec<Counts>, most: usize, verbose: bool) -> Summary {
    if verbose {
        eprintln!("comparing {} files", files.len());
    }
    let mut in_files = Counts::new();
    for word in files.iter().flat_map(BTreeMap::keys) {
        *in_files.entry(word.clone()).or_default() += 1;
    }
    let words = files.iter().flat_map(BTreeMap::values).sum();
    let mut common: Vec<_> = in_files.into_iter().collect();
    common.sort_by_key(|(word, files)| (std::cmp::Reverse(*files), word.clone()));
    common.truncate(most);
    Summary { words, common }
}

fn texts(folder: &Path) -> io::Result<Vec<File>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.into_iter().map(File::at).collect())
}

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let begun = Instant::now();
    let counted: io::Result<Vec<Counts>> =
        texts(Path::new(&folder))?.into_iter().map(count_words).collect();
    let summary = summarize(counted?, 10, true);
    println!("{} words in {:?}; the most common:", summary.words, begun.elapsed());
    for (word, files) in &summary.common {
        println!("{files:4} files: {word}");
    }
    Ok(())
}
