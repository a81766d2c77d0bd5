//! Finds the groups of a task: its entries of one scope, cache version and signature stand side by
//! side in `tasks`, so each group costs one step, however many entries it has.
//!
//! **Invariants.** The work is bounded by `NEAREST_SCOPES_MAX`, `NEAREST_GROUPS_OF_SCOPE_MAX` and
//! `NEAREST_GROUPS_MAX`, what is read by `NEAREST_READ_BYTES_MAX`. The call's own scope comes
//! first, and of each scope the group that differs in nothing else, then those that stand next to
//! where that one stands or would stand.

use memod_protocol::{CallIdentity, Scope, wire};

use crate::error::StoreError;
use crate::limits::{
    NEAREST_GROUPS_MAX, NEAREST_GROUPS_OF_SCOPE_MAX, NEAREST_READ_BYTES_MAX, NEAREST_SCOPES_MAX,
    NEAREST_SKIPS_MAX,
};
use crate::record::TaskRecord;
use crate::rocks::{Reads, Row, Rows, is_damage};
use crate::schema::{
    Column, TaskKey, group_prefix, prefix_end, scope_prefix, scope_task_prefix, split_task_key,
};

/// A group and one of its entries.
#[derive(Debug)]
pub(crate) struct TaskGroup {
    /// What its rows in `tasks` begin with.
    pub(crate) prefix: Vec<u8>,
    /// Of the entry.
    pub(crate) task: TaskKey,
    /// The entry's row; what it declares is what all of the group declare.
    pub(crate) record: TaskRecord,
}

/// The groups of the call's task, in those scopes that may be told of.
pub(crate) fn find(
    reads: &impl Reads,
    call: &CallIdentity,
    tells: &dyn Fn(&Scope) -> bool,
) -> Result<Vec<TaskGroup>, StoreError> {
    let mut found = Found { groups: Vec::new(), bytes: 0 };
    if tells(&call.scope) {
        find_in_scope(reads, call, &call.scope, &mut found)?;
    }
    for scope in other_scopes(reads, call, tells)? {
        find_in_scope(reads, call, &scope, &mut found)?;
    }
    Ok(found.groups)
}

/// The row that a walk is at; what is damaged ends the walk.
pub(crate) fn row_at<'r>(rows: &'r Rows<'_>) -> Result<Option<Row<'r>>, StoreError> {
    match rows.row() {
        Err(error) if is_damage(&error) => {
            tracing::warn!(%error, "a search for near entries leaves out what cannot be read");
            Ok(None)
        }
        row => Ok(row?),
    }
}

/// What has been found so far.
struct Found {
    groups: Vec<TaskGroup>,
    /// Of the rows.
    bytes: usize,
}

/// The other scopes that have the task; as many scopes are looked at as the bound allows.
fn other_scopes(
    reads: &impl Reads,
    call: &CallIdentity,
    tells: &dyn Fn(&Scope) -> bool,
) -> Result<Vec<Scope>, StoreError> {
    let mut scopes = Vec::new();
    let mut rows = reads.rows_skipping(Column::Tasks, &[], None, NEAREST_SKIPS_MAX);
    rows.first();
    for _ in 0..NEAREST_SCOPES_MAX {
        let Some((row, _)) = row_at(&rows)? else { break };
        let Some(TaskKey { scope, .. }) = TaskKey::parse(row) else { break };
        if scope != call.scope && tells(&scope) {
            let wanted = scope_task_prefix(&scope, &call.task);
            rows.seek(&wanted);
            if row_at(&rows)?.is_some_and(|(row, _)| row.starts_with(&wanted)) {
                scopes.push(scope.clone());
            }
        }
        let Some(end) = prefix_end(&scope_prefix(&scope)) else { break };
        rows.seek(&end);
    }
    Ok(scopes)
}

impl Found {
    fn has_room(&self, groups_max: usize) -> bool {
        self.groups.len() < groups_max && self.bytes < NEAREST_READ_BYTES_MAX
    }
}

fn find_in_scope(
    reads: &impl Reads,
    call: &CallIdentity,
    scope: &Scope,
    found: &mut Found,
) -> Result<(), StoreError> {
    let all = scope_task_prefix(scope, &call.task);
    let middle = group_prefix(scope, &call.task, &call.cache_version, &call.signature);
    let walk = || reads.rows_skipping(Column::Tasks, &all, prefix_end(&all), NEAREST_SKIPS_MAX);
    let (mut forward, mut back) = (walk(), walk());
    let groups_max = NEAREST_GROUPS_MAX.min(found.groups.len() + NEAREST_GROUPS_OF_SCOPE_MAX);
    forward.seek(&middle);
    back.seek_back(&middle);
    let (mut more_forward, mut more_back) = (true, true);
    while (more_forward || more_back) && found.has_room(groups_max) {
        more_forward = more_forward
            && step(&mut forward, found, |rows, prefix| {
                // No group is the last possible one: its prefix would have to be all 255.
                prefix_end(prefix).inspect(|end| rows.seek(end)).is_some()
            })?;
        more_back = more_back
            && found.has_room(groups_max)
            && step(&mut back, found, |rows, prefix| {
                rows.seek_back(prefix);
                true
            })?;
    }
    Ok(())
}

/// Takes the group that the walk is at and goes on to the next, if there is one.
fn step<'a>(
    rows: &mut Rows<'a>,
    found: &mut Found,
    go_on: impl FnOnce(&mut Rows<'a>, &[u8]) -> bool,
) -> Result<bool, StoreError> {
    let Some((row, value)) = row_at(rows)? else { return Ok(false) };
    let Some((prefix, _)) = split_task_key(row) else { return Ok(false) };
    let prefix = prefix.to_vec();
    let parsed = (TaskKey::parse(row), wire::decode_record::<TaskRecord>(value));
    if let (Some(task), Ok(record)) = parsed {
        found.bytes += value.len();
        found.groups.push(TaskGroup { prefix: prefix.clone(), task, record });
    } else {
        tracing::warn!("a row of the listing cannot be read and is left out");
    }
    Ok(go_on(rows, &prefix))
}
