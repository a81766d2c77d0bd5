//! What a path leads through: every directory and every link on the way.
//!
//! **Invariants.** Links are followed by hand, one component after the other, so that nothing on
//! the way is left out: not the directory in which a link stands, and not the link itself.
//!
//! **Does not** judge: who asks knows whom it trusts.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};

/// So many links may be on the way, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// A place on the way.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it is; the directories of this path are no links.
    pub path: PathBuf,
    /// What is there, which may be a link.
    pub metadata: Metadata,
}

impl Step {
    /// Whether it leads elsewhere.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.metadata.file_type().is_symlink()
    }
}

/// All steps of a path, from `/` to what it means in the end.
///
/// # Errors
/// If one of them is not there or may not be looked at, or there are too many links.
pub fn route(path: &Path) -> io::Result<Vec<Step>> {
    let mut left: VecDeque<OsString> = names(&std::path::absolute(path)?).collect();
    let root = PathBuf::from("/");
    let mut steps = vec![Step { metadata: root.symlink_metadata()?, path: root.clone() }];
    let (mut here, mut links) = (root.clone(), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            // What is here is no link, so that its parent is where `..` leads.
            here.pop();
            continue;
        }
        let path = here.join(&name);
        let step = Step { metadata: path.symlink_metadata()?, path: path.clone() };
        if step.is_link() {
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::from(nix::errno::Errno::ELOOP));
            }
            let target = path.read_link()?;
            if target.is_absolute() {
                here.clone_from(&root);
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(name);
            }
        } else {
            here = path;
        }
        steps.push(step);
    }
    Ok(steps)
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_where_they_stand_are_on_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("it is there");
        let at = |below: &str| root.join(below);
        for directory in ["open", "safe/below"] {
            fs::create_dir_all(at(directory)).expect("a folder");
        }
        symlink(at("safe"), at("open/absolute")).expect("a link");
        symlink("../open/absolute/below", at("safe/relative")).expect("a link");
        let steps = route(&at("safe/./relative/../below")).expect("it leads somewhere");
        let passed: Vec<_> = steps
            .iter()
            .filter_map(|step| Some((step.path.strip_prefix(&root).ok()?, step.is_link())))
            .filter(|(path, _)| !path.as_os_str().is_empty())
            .map(|(path, is_link)| (path.display().to_string(), is_link))
            .collect();
        let expected =
            [("safe", false), ("safe/relative", true), ("open", false), ("open/absolute", true)];
        let passed: Vec<_> = passed.iter().map(|(path, of)| (path.as_str(), *of)).collect();
        assert_eq!(passed[..4], expected);
        assert_eq!(passed.last(), Some(&("safe/below", false)));
        assert_eq!(steps[0].path, Path::new("/"));
    }

    #[test]
    fn a_circle_and_a_gap_are_errors() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        symlink("link", &link).expect("a link");
        assert!(route(&link).is_err());
        assert_eq!(
            route(&folder.path().join("gone/below")).expect_err("a gap").kind(),
            io::ErrorKind::NotFound
        );
    }
}
