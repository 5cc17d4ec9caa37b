//! Who is there to own partitions.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::MemoryJournal;
use crate::journal::{Error, Hint, PartitionLease, Roster};

/// The members of a journal, each until some instant; none is for ever.
#[derive(Debug, Default)]
pub(super) struct Members {
    until: Mutex<FxHashMap<Arc<str>, Option<Instant>>>,
    /// Told when somebody comes or leaves, or a partition is claimed or given back.
    pub(super) changes: Hint,
}

impl Members {
    pub(super) fn attend(&self, member: &str, ttl: Duration) {
        let now = Instant::now();
        let mut members = self.until.lock();
        // Others go when somebody looks, so that members who come and go leave nothing behind.
        members.retain(|known, until| **known == *member || lasts(until, now));
        let former = members.insert(member.into(), now.checked_add(ttl));
        drop(members);
        if former.is_none_or(|until| !lasts(&until, now)) {
            self.changes.notify();
        }
    }

    pub(super) fn leave(&self, member: &str) {
        if self.until.lock().remove(member).is_some() {
            self.changes.notify();
        }
    }

    fn all(&self, now: Instant) -> Vec<Arc<str>> {
        let members = self.until.lock();
        let there = members.iter().filter(|(_, until)| lasts(until, now));
        there.map(|(member, _)| Arc::clone(member)).collect()
    }
}

fn lasts(until: &Option<Instant>, now: Instant) -> bool {
    until.is_none_or(|until| now < until)
}

impl MemoryJournal {
    pub(super) fn give_back(&self, lease: &PartitionLease, handed_over: bool) -> Result<(), Error> {
        self.owned(lease)?.release(handed_over);
        self.members.changes.notify();
        Ok(())
    }

    pub(super) fn roster_now(&self) -> Roster {
        let now = Instant::now();
        let slots = self.partitions.iter();
        let owners = slots.map(|slot| slot.state.lock().owner(now).cloned());
        Roster::new(self.members.all(now), owners)
    }
}
