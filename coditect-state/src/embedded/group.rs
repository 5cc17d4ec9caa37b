//! Many transactions in one commit of the file.
//!
//! Each is checked against all before it, those of its own group too, and applied whole or not at all.

use std::ops::Bound;
use std::time::SystemTime;

use bytes::Bytes;
use redb::{Database, ReadableTable, Table};
use tokio::sync::oneshot;

use super::conflicts::{Changes, Conflicts};
use super::error::Fault;
use super::file::{DATA, Last, mark};
use crate::draft::{Buffer, Draft, Write};
use crate::error::Result;
use crate::version::CommitVersion;

/// How many keys of a cleared range are named; beyond that the range itself is remembered.
const NAMED: usize = 1_024;

type Data<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// Is a transaction that waits for its commit.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) draft: Draft,
    /// What it has read, if it has read anything.
    pub(super) version: Option<CommitVersion>,
    pub(super) reply: oneshot::Sender<Result<CommitVersion>>,
}

impl Pending {
    pub(super) fn answer(self, result: Result<CommitVersion>) {
        // Who does not wait any more does not want to know.
        drop(self.reply.send(result));
    }
}

/// Is a group that was written and is not committed yet.
pub(super) struct Written {
    pub(super) accepted: Vec<(Pending, CommitVersion)>,
    pub(super) changes: Vec<Changes>,
    pub(super) last: Last,
    write: redb::WriteTransaction,
}

impl Written {
    pub(super) fn commit(self) -> (Outcome, std::result::Result<(), Fault>) {
        let result = self.write.commit().map_err(Fault::from);
        let outcome = Outcome {
            accepted: self.accepted,
            changes: self.changes,
            last: self.last,
        };
        (outcome, result)
    }
}

/// Is a group after its commit, whatever came of it.
pub(super) struct Outcome {
    pub(super) accepted: Vec<(Pending, CommitVersion)>,
    pub(super) changes: Vec<Changes>,
    pub(super) last: Last,
}

/// Is why a group could not be written; nothing of it has happened.
pub(super) struct Unwritten {
    pub(super) group: Vec<Pending>,
    pub(super) fault: Fault,
}

/// Writes a group. Transactions in conflict are answered at once; `None` if there is nothing left to commit.
pub(super) fn write(
    database: &Database,
    conflicts: &Conflicts,
    before: Last,
    now: SystemTime,
    group: Vec<Pending>,
) -> std::result::Result<Option<Written>, Unwritten> {
    let batch = before.version.batch() + 1;
    let mut accepted: Vec<(Pending, CommitVersion)> = Vec::with_capacity(group.len());
    let mut changes = Vec::with_capacity(group.len());
    // What this group has changed so far: forgotten if it fails.
    let mut within = Conflicts::new(usize::MAX, CommitVersion::default());
    let mut rest = group.into_iter();
    let mut current = None;
    let written = (|| {
        let mut write = database.begin_write()?;
        write.set_two_phase_commit(true);
        let mut data = write.open_table(DATA)?;
        for pending in rest.by_ref() {
            if let Some(version) = pending.version {
                let reads = &pending.draft.reads;
                let checked = conflicts.check(reads, version);
                if let Err(error) = checked.and_then(|()| within.check(reads, version)) {
                    pending.answer(Err(error));
                    continue;
                }
            }
            let order = u16::try_from(accepted.len()).unwrap_or(u16::MAX);
            let version = CommitVersion::new(batch, order);
            let pending = current.insert(pending);
            let applied = apply(&mut data, &pending.draft.writes, version)?;
            within.note(version, &applied);
            changes.push(applied);
            accepted.extend(current.take().map(|pending| (pending, version)));
        }
        drop(data);
        let Some((_, version)) = accepted.last() else {
            return Ok(None);
        };
        let last = Last {
            version: *version,
            time: now,
        };
        mark(&write, last)?;
        Ok((last, write).into())
    })();
    match written {
        Ok(Some((last, write))) => Ok(Some(Written {
            accepted,
            changes,
            last,
            write,
        })),
        Ok(None) => Ok(None),
        Err(fault) => {
            let begun = accepted.into_iter().map(|(pending, _)| pending);
            let group = begun.chain(current).chain(rest).collect();
            Err(Unwritten { group, fault })
        }
    }
}

fn apply(
    data: &mut Data<'_>,
    writes: &Buffer,
    version: CommitVersion,
) -> std::result::Result<Changes, Fault> {
    let mut changes = Changes::default();
    for (begin, end) in writes.cleared.iter() {
        clear_range(data, begin, end, &mut changes)?;
    }
    for stamped in &writes.stamped {
        let key = stamped.key.resolve(version);
        if !writes.cleared_later(stamped, &key) {
            data.insert(&*key, &*stamped.value)?;
            changes.keys.push(key);
        }
    }
    for (key, write) in &writes.writes {
        let changed = match write {
            Write::Set(value) => data.insert(&**key, &**value).map(|_| true)?,
            Write::Stamped(value) => {
                let value = value.resolve(version);
                data.insert(&**key, &*value).map(|_| true)?
            }
            Write::Clear => data.remove(&**key)?.is_some(),
        };
        if changed {
            changes.keys.push(key.clone());
        }
    }
    Ok(changes)
}

fn clear_range(
    data: &mut Data<'_>,
    begin: &Bytes,
    end: &Bytes,
    changes: &mut Changes,
) -> std::result::Result<(), Fault> {
    let range = (Bound::Included(&**begin), Bound::Excluded(&**end));
    // Most ranges that are cleared to be sure are empty, and looking is cheaper than rewriting.
    if data.range::<&[u8]>(range)?.next().is_none() {
        return Ok(());
    }
    let (mut named, mut cleared) = (Vec::new(), 0);
    data.retain_in::<&[u8], _>(range, |key, _| {
        cleared += 1;
        if cleared <= NAMED {
            named.push(Bytes::copy_from_slice(key));
        }
        false
    })?;
    if cleared > NAMED {
        changes.ranges.push((begin.clone(), end.clone()));
    } else {
        changes.keys.append(&mut named);
    }
    Ok(())
}
