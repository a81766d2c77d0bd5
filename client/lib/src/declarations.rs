//! The tasks that a thread calls: each declaration, in its scope and of its cache version, is
//! checked and hashed once.
//!
//! **Invariants.** A task is found by comparing all of it, so a call that was changed is another's.
//! Bounded; nothing is shared by threads.

use std::cell::RefCell;
use std::rc::Rc;

use memod_protocol::{Call, TaskIdentity};

/// Declarations that a thread remembers, the last first.
const DECLARED_MAX: usize = 16;

thread_local! {
    static DECLARED: RefCell<Vec<Rc<TaskIdentity>>> = const { RefCell::new(Vec::new()) };
}

/// What a call shares with others of its task, if that is good.
pub(crate) fn of(call: &Call) -> Option<Rc<TaskIdentity>> {
    let known = |all: &RefCell<Vec<Rc<TaskIdentity>>>| {
        let mut all = all.try_borrow_mut().ok()?;
        let at = all.iter().position(|task| task.is_of(call));
        if let Some(at) = at {
            all.get_mut(..=at)?.rotate_right(1);
        } else {
            let task = TaskIdentity::of(call).ok()?;
            all.truncate(DECLARED_MAX - 1);
            all.insert(0, Rc::new(task));
        }
        all.first().map(Rc::clone)
    };
    // A thread that ends remembers nothing any more.
    DECLARED.try_with(known).ok().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use memod_protocol::LiteralType;

    use super::*;
    use crate::testing::call_with_outputs;

    #[test]
    fn a_call_that_was_changed_is_of_another_declaration() {
        let mut call = call_with_outputs(&["o0"], &LiteralType::Bytes);
        let key = |call: &Call| of(call).unwrap().key(call).unwrap();
        let mut seen = vec![key(&call)];
        let changes: [fn(&mut Call); 7] = [
            |call| call.task.push('x'),
            |call| call.scope.project.push('x'),
            |call| call.scope.domain.push('x'),
            |call| call.cache_version.push('x'),
            |call| drop(call.interface.outputs.insert("o1".into(), LiteralType::Bytes)),
            |call| drop(call.interface.outputs.insert("o1".into(), LiteralType::Integer)),
            |call| drop(call.interface.inputs.insert("more".into(), LiteralType::Integer)),
        ];
        for change in changes {
            change(&mut call);
            assert_eq!(key(&call), call.key().unwrap());
            assert!(!seen.contains(&key(&call)));
            seen.push(key(&call));
        }
    }

    #[test]
    fn no_more_declarations_are_remembered_than_are_allowed() {
        for number in 0..10 * DECLARED_MAX {
            let mut call = call_with_outputs(&["o0"], &LiteralType::Bytes);
            call.task = number.to_string();
            assert!(of(&call).is_some());
            call.task.clear();
            assert!(of(&call).is_none(), "it has no name");
        }
        assert_eq!(DECLARED.with_borrow(Vec::len), DECLARED_MAX);
    }
}
