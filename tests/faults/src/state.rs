//! What this library knows of the process: which descriptors are watched, the plan, the journal.
//!
//! The log has a line for each call that was made to fail, `fail CALL ERROR PATH`, and `map PATH`
//! for each mapping that could write.
//!
//! **Invariants.** The locks are held by this library only, and nothing that it calls under them
//! comes back to it.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsString, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::journal::{Journal, append_to, write_all};
use crate::plan::{Call, Plan};
use crate::real;

/// A descriptor that is watched.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// Below the root; empty for the root itself.
    pub(crate) path: String,
    /// The file's number; none for a folder.
    pub(crate) file: Option<u64>,
}

/// A file of the plan, told from the one before it.
type PlanFile = (libc::ino_t, libc::off_t, i64, i64);

/// The numbers of files, by device and inode. A number is given anew when a file is made.
type Numbers = HashMap<(u64, u64), u64>;

#[derive(Default)]
struct Plans {
    file: Option<PlanFile>,
    plan: Plan,
}

/// Everything.
pub(crate) struct State {
    root: Vec<u8>,
    plan_path: Option<CString>,
    log: Option<c_int>,
    plans: Mutex<Plans>,
    by_fd: Mutex<HashMap<c_int, Watched>>,
    pub(crate) journal: Mutex<(Journal, Numbers)>,
}

/// Locks; nobody leaves anything half done.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known, if anything is to be watched.
pub(crate) fn state() -> Option<&'static State> {
    static STATE: OnceLock<Option<State>> = OnceLock::new();
    STATE.get_or_init(State::new).as_ref()
}

fn variable(name: &str) -> Option<CString> {
    CString::new(std::env::var_os(name).map(OsString::into_vec)?).ok()
}

impl State {
    fn new() -> Option<Self> {
        let root = std::env::var_os("MEMOD_FAULTS_ROOT")?.as_bytes().to_vec();
        let journal = Journal::open(variable("MEMOD_FAULTS_JOURNAL"));
        Some(Self {
            root,
            plan_path: variable("MEMOD_FAULTS_PLAN"),
            log: variable("MEMOD_FAULTS_LOG").map(|path| append_to(&path)),
            plans: Mutex::default(),
            by_fd: Mutex::default(),
            journal: Mutex::new((journal, Numbers::new())),
        })
    }

    /// A path as it is below the root, if it is there.
    pub(crate) fn below(&self, path: &CStr) -> Option<String> {
        let rest = path.to_bytes().strip_prefix(self.root.as_slice())?;
        let rest = match rest {
            [] => rest,
            [b'/', rest @ ..] => rest,
            _ => return None,
        };
        let text = String::from_utf8_lossy(rest);
        Some(text.trim_end_matches('/').replace("//", "/"))
    }

    /// What a descriptor stands for, if it is watched.
    pub(crate) fn of(&self, fd: c_int) -> Option<Watched> {
        locked(&self.by_fd).get(&fd).cloned()
    }

    /// The descriptor is open, and watched or not.
    pub(crate) fn opened(&self, fd: c_int, watched: Option<Watched>) {
        let mut by_fd = locked(&self.by_fd);
        match watched {
            Some(watched) => by_fd.insert(fd, watched),
            None => by_fd.remove(&fd),
        };
    }

    /// The descriptor is about to be closed.
    pub(crate) fn closing(&self, fd: c_int) {
        locked(&self.by_fd).remove(&fd);
    }

    fn read_plan(&self, plans: &mut Plans) {
        let Some(path) = &self.plan_path else { return };
        // SAFETY: all zeros is a value of this plain structure.
        let mut is: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the path is a C string, and the result is written where it is told to.
        let there = unsafe { libc::stat(path.as_ptr(), &raw mut is) } == 0;
        let file = there.then_some((is.st_ino, is.st_size, is.st_mtime, is.st_mtime_nsec));
        if plans.file == file {
            return;
        }
        plans.file = file;
        plans.plan = Plan::parse(&if there { read(path) } else { String::new() });
    }

    /// Sets `errno` and says so if this call is to fail.
    pub(crate) fn fails(&self, call: Call, path: &str) -> Option<c_int> {
        let mut plans = locked(&self.plans);
        self.read_plan(&mut plans);
        let (name, number) = plans.plan.failure(call, path)?;
        self.log(&format!("fail {} {name} {path}\n", call.name()));
        // SAFETY: the thread's own number.
        unsafe { *libc::__errno_location() = number };
        Some(number)
    }

    /// Writes a line into the log.
    pub(crate) fn log(&self, line: &str) {
        if let Some(fd) = self.log {
            write_all(fd, line.as_bytes());
        }
    }
}

/// The text of a file.
pub(crate) fn read(path: &CStr) -> String {
    let mut text = Vec::new();
    let mut some = [0_u8; 4096];
    // SAFETY: the path is a C string; what is read goes into a buffer of this length; the
    // descriptor is closed once.
    unsafe {
        let fd = real::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0);
        assert!(fd >= 0, "{path:?} cannot be read");
        loop {
            let bytes = real::read(fd, some.as_mut_ptr().cast(), some.len());
            match usize::try_from(bytes) {
                Ok(bytes @ 1..) => text.extend_from_slice(some.get(..bytes).unwrap_or_default()),
                _ => break,
            }
        }
        real::close(fd);
    }
    String::from_utf8_lossy(&text).into_owned()
}
