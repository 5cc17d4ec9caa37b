//! Lists of runs, by the index that selects the fewest.

use bytes::Bytes;
use coditect_state::{Range, StateStoreExt, Tx};

use super::StoreJournal;
use super::key::{entry_of, run_of};
use crate::journal::{Error, RunFilter, RunSummary};

/// How many keys of an index are read at once.
const PAGE: usize = 256;

impl StoreJournal {
    pub(super) async fn list_runs(
        &self,
        filter: &RunFilter,
    ) -> std::result::Result<Vec<RunSummary>, Error> {
        let limit = filter.limit.unwrap_or(usize::MAX);
        let index = &self.index(filter);
        let mut found = Vec::new();
        let mut after = filter.after;
        // A transaction for each page: a list of very many runs is not one moment, but holds up nobody.
        while found.len() < limit {
            let begin = after.map(|run| entry_of(index, run));
            let read = |mut tx: Tx| {
                let begin = begin.clone();
                async move {
                    let mut range = Range::prefix(index).with_limit(PAGE).snapshot();
                    if let Some(last) = begin {
                        range = range.after(&last);
                    }
                    let page = tx.range(range).await?;
                    let mut runs = Vec::new();
                    let mut last = None;
                    for run in page.entries.iter().filter_map(|entry| run_of(&entry.key)) {
                        last = Some(run);
                        if filter.partition.is_some_and(|only| only != self.home(run)) {
                            continue;
                        }
                        let summary = self.summary(&mut *tx, run).await?;
                        runs.extend(summary.filter(|run| filter.matches(run)));
                    }
                    Ok((runs, last.filter(|_| page.next.is_some())))
                }
            };
            let (runs, last) = self.store.transact(read).await?;
            found.extend(runs);
            if last.is_none() {
                break;
            }
            after = last;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Returns the start of the keys of the runs among which those of a filter are.
    fn index(&self, filter: &RunFilter) -> Bytes {
        match filter {
            RunFilter {
                label: Some((name, value)),
                ..
            } => self.keys.with_label(name, value),
            RunFilter {
                tenant: Some(tenant),
                ..
            } => self.keys.of_tenant(tenant),
            RunFilter {
                state: Some(state), ..
            } => self.keys.in_state(*state),
            _ => self.keys.heads(),
        }
    }
}
