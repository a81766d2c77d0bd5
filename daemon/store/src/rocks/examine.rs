//! Finds the files of rows that cannot be opened, which keep the database from being opened.
//!
//! Errors of `RocksDB` do not always say which file they are about. So each family is opened alone,
//! to be read, and, of one that cannot be, each of its files alone, by a list of files that has
//! been written for that.
//!
//! **Invariants.** Nothing in the folder of the database is written. An error of the disk ends it:
//! a file that could not be read this time may be sound.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamilyDescriptor, DB, DBPath, LogLevel, Options};

use super::RocksError;
use super::generations::parse_family_name;
use super::manifest::{Listed, Manifest, current, remove_files};
use crate::schema::Column;

/// A file of rows that cannot be opened.
#[derive(Debug)]
pub(crate) struct BadFile {
    /// Its name in the folder of the database.
    pub(crate) name: String,
    /// Whose rows it has; none of a family that memod does not know.
    pub(crate) column: Option<Column>,
    /// What is wrong with it.
    pub(crate) why: String,
    family: String,
    listed: Listed,
}

/// A database that is read by lists of files of one's own.
struct Examination<'a> {
    database: &'a Path,
    /// Where these lists stand.
    scratch: &'a Path,
    /// The name of a list, and what the one of the database has.
    name: PathBuf,
    list: Manifest,
    blamed: &'a str,
    is_damage: &'a dyn Fn(&RocksError) -> bool,
}

/// The files of rows that cannot be opened; and those of `meta` that an error blames, since what is
/// whole in them cannot be told from what is not. A list of files that cannot be read has none.
///
/// # Errors
/// If the disk fails, or there is no room for `scratch`, a folder that is made and removed.
pub(crate) fn bad_files(
    database: &Path,
    scratch: &Path,
    blamed: &str,
    is_damage: &dyn Fn(&RocksError) -> bool,
) -> io::Result<Vec<BadFile>> {
    let Some(path) = current(database) else { return Ok(Vec::new()) };
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let (Some(list), Some(name)) = (Manifest::read(bytes), path.file_name()) else {
        return Ok(Vec::new());
    };
    clear(scratch)?;
    fs::create_dir(scratch)?;
    fs::copy(database.join("CURRENT"), scratch.join("CURRENT"))?;
    let name = scratch.join(name);
    let found = Examination { database, scratch, name, list, blamed, is_damage }.all();
    clear(scratch)?;
    found
}

/// Takes files out of the list of their database; false if that cannot be done.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn unlist(database: &Path, files: &[BadFile]) -> io::Result<bool> {
    let mut of_families: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for file in files {
        of_families.entry(file.family.clone()).or_default().push(file.listed);
    }
    match current(database) {
        Some(path) => remove_files(&path, &of_families),
        None => Ok(false),
    }
}

/// Whether each column of a database has one family only, so that nothing need say which it is.
pub(crate) fn has_one_family_each(database: &Path) -> bool {
    let list = current(database).and_then(|path| Manifest::read(fs::read(path).ok()?));
    list.is_some_and(|list| {
        let columns = || list.families().filter_map(parse_family_name).map(|(column, _)| column);
        Column::ALL.into_iter().all(|column| columns().filter(|of| *of == column).count() == 1)
    })
}

fn clear(scratch: &Path) -> io::Result<()> {
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Examination<'_> {
    fn all(&self) -> io::Result<Vec<BadFile>> {
        let mut bad = Vec::new();
        for family in self.list.families() {
            let whole = self.list.without(family, &[]).unwrap_or_default();
            fs::write(&self.name, &whole)?;
            let is_blamed = family == Column::Meta.name() && self.blamed.contains(".sst");
            if is_blamed || self.fault(family)?.is_some() {
                bad.extend(self.of_family(family)?);
            }
        }
        Ok(bad)
    }

    /// The bad files of a family that has some.
    fn of_family(&self, family: &str) -> io::Result<Vec<BadFile>> {
        let listed = |file: &rocksdb::LiveFile| {
            let name = file.name.trim_start_matches('/').to_owned();
            let number = name.strip_suffix(".sst")?.parse().ok()?;
            Some((name, Listed { level: u64::try_from(file.level).ok()?, number }))
        };
        let of_family = |file: &rocksdb::LiveFile| file.column_family_name == family;
        let files = self.open(family, false).and_then(|db| db.live_files());
        let files = files.map_err(io::Error::other)?;
        let files: Vec<_> =
            files.iter().filter(|file| of_family(file)).filter_map(listed).collect();
        let mut bad = Vec::new();
        for (name, file) in &files {
            let others = files.iter().map(|(_, other)| *other);
            let others: Vec<_> = others.filter(|other| other.number != file.number).collect();
            fs::write(&self.name, self.list.without(family, &others).unwrap_or_default())?;
            let column = parse_family_name(family).map(|(column, _)| column);
            let is_blamed = column == Some(Column::Meta) && self.blamed.contains(name.as_str());
            let fault = self.fault(family)?;
            if let Some(why) = fault.or_else(|| is_blamed.then(|| self.blamed.to_owned())) {
                let (name, family) = (name.clone(), family.to_owned());
                bad.push(BadFile { name, column, why, family, listed: *file });
            }
        }
        Ok(bad)
    }

    /// What keeps a family from being opened, by the list that is written now.
    fn fault(&self, family: &str) -> io::Result<Option<String>> {
        match self.open(family, true) {
            Ok(_) => Ok(None),
            Err(error) if (self.is_damage)(&error) => {
                let text = error.into_string();
                // What stands behind is about the list that was written for this.
                let cause = text.split("  The file ").next().unwrap_or_default();
                Ok(Some(cause.trim().to_owned()))
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn open(&self, family: &str, paranoid: bool) -> Result<DB, RocksError> {
        let mut options = Options::default();
        options.set_db_paths(&[DBPath::new(self.database, u64::MAX)?]);
        options.set_paranoid_checks(paranoid);
        // Each file is opened at once, with its index.
        options.set_max_open_files(-1);
        options.set_log_level(LogLevel::Fatal);
        let families = ["default", family].map(|name| {
            let options = Options::default();
            ColumnFamilyDescriptor::new(name, options)
        });
        let families = families.into_iter().skip(usize::from(family == "default"));
        DB::open_cf_descriptors_read_only(&options, self.scratch, families, false)
    }
}
