//! Which calls fail.
//!
//! A plan is a text, a rule to a line; the first that fits decides. A file that is replaced (by a
//! rename) takes effect at the next call, and all counts begin anew.
//!
//! ```text
//! fail CALL PATTERN ERROR [after=N] [times=N] [permille=N] [seed=N]
//! ```
//!
//! - CALL: `create`, `open`, `read`, `write`, `sync`, `syncdir`, `rename`, `unlink`, `mkdir`,
//!   `truncate`, `allocate`, or `any`. An `open` for which a file would be made is a `create`.
//! - PATTERN: the end of the file's path, or the whole path with one `*`, below the root.
//! - ERROR: `EIO`, `ENOSPC`, `EDQUOT`, `EROFS`, `EMFILE`, `ENFILE`, `EACCES`.
//! - `after`: so many calls that fit succeed first. `times`: so many fail, then all succeed.
//!   `permille`: each fails with this probability, drawn from `seed`.
//!
//! **Does not** forgive: a line that cannot be read ends the process.

use std::ffi::c_int;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Open,
    Read,
    Write,
    Sync,
    SyncDir,
    Rename,
    Unlink,
    Mkdir,
    Truncate,
    Allocate,
}

impl Call {
    const ALL: [Self; 11] = [
        Self::Create,
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::SyncDir,
        Self::Rename,
        Self::Unlink,
        Self::Mkdir,
        Self::Truncate,
        Self::Allocate,
    ];

    /// As plans and the log say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncDir => "syncdir",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::Truncate => "truncate",
            Self::Allocate => "allocate",
        }
    }
}

/// An error by its name and its number.
type Failure = (&'static str, c_int);

const FAILURES: [Failure; 7] = [
    ("EIO", libc::EIO),
    ("ENOSPC", libc::ENOSPC),
    ("EDQUOT", libc::EDQUOT),
    ("EROFS", libc::EROFS),
    ("EMFILE", libc::EMFILE),
    ("ENFILE", libc::ENFILE),
    ("EACCES", libc::EACCES),
];

/// A line of a plan.
#[derive(Debug)]
struct Rule {
    /// None: any.
    call: Option<Call>,
    pattern: String,
    failure: Failure,
    after: u64,
    times: u64,
    permille: u64,
    random: u64,
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (fail, call, pattern, error) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        let named = Call::ALL.into_iter().find(|known| known.name() == call);
        if fail != "fail" || (named.is_none() && call != "any") {
            return None;
        }
        let failure = FAILURES.into_iter().find(|(name, _)| *name == error)?;
        let mut rule = Self {
            call: named,
            pattern: pattern.to_owned(),
            failure,
            after: 0,
            times: u64::MAX,
            permille: 1000,
            random: 1,
        };
        for word in words {
            let (name, number) = word.split_once('=')?;
            let number = number.parse().ok()?;
            match name {
                "after" => rule.after = number,
                "times" => rule.times = number,
                "permille" => rule.permille = number,
                "seed" => rule.random = number,
                _ => return None,
            }
        }
        Some(rule)
    }

    fn fits(&self, call: Call, path: &str) -> bool {
        self.call.is_none_or(|named| named == call)
            && match self.pattern.split_once('*') {
                Some((begin, end)) => {
                    path.strip_prefix(begin).is_some_and(|rest| rest.ends_with(end))
                }
                None => path.ends_with(&self.pattern),
            }
    }

    /// The next random number (`SplitMix64`).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether this call fails, of those that fit.
    fn strikes(&mut self) -> bool {
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        if self.times == 0 || self.draw() % 1000 >= self.permille {
            return false;
        }
        self.times -= 1;
        true
    }
}

/// All rules.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    rules: Vec<Rule>,
}

impl Plan {
    /// Reads a plan.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let rule = |line: &str| {
            Rule::parse(line).unwrap_or_else(|| panic!("the plan cannot be read: {line}"))
        };
        Self { rules: lines.filter(|line| !line.starts_with('#')).map(rule).collect() }
    }

    /// What this call is to fail with, if it is.
    pub(crate) fn failure(&mut self, call: Call, path: &str) -> Option<Failure> {
        let rule = self.rules.iter_mut().find(|rule| rule.fits(call, path))?;
        rule.strikes().then_some(rule.failure)
    }
}
