//! A partition's inbox in memory.

use std::collections::VecDeque;

use crate::RunId;
use crate::journal::{InboxEntry, Request, Seq};

/// Entries in the order of their positions; a consumed one leaves a hole until all before it are gone.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    entries: VecDeque<Option<(RunId, Request)>>,
    /// How many positions before the first in `entries` have been consumed.
    consumed: u64,
}

impl Inbox {
    pub(super) fn push(&mut self, run: RunId, request: Request) {
        self.entries.push_back(Some((run, request)));
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.position(seq)
            .and_then(|index| self.entries.get(index))
            .is_some_and(Option::is_some)
    }

    pub(super) fn take(&mut self, seq: Seq) -> Option<(RunId, Request)> {
        let index = self.position(seq)?;
        let entry = self.entries.get_mut(index)?.take();
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.consumed += 1;
        }
        entry
    }

    pub(super) fn page(&self, after: Seq, limit: usize) -> Vec<InboxEntry> {
        let start = self.position(after.next()).unwrap_or(0);
        let entries = self.entries.iter().enumerate().skip(start);
        entries
            .filter_map(|(index, entry)| {
                let (run, request) = entry.as_ref()?;
                Some(InboxEntry {
                    seq: Seq::new(self.consumed + index as u64 + 1),
                    run: *run,
                    request: request.clone(),
                })
            })
            .take(limit)
            .collect()
    }

    fn position(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.get().checked_sub(self.consumed + 1)?).ok()
    }
}
