//! What others ask of the partition: runs to take up, and commands.

use std::sync::Arc;

use coditect_dag::RunId;
use coditect_dag::journal::{InboxEntry, RecordKind, Request, Settlement, Submission};

use super::owner::Owner;
use super::record::encode_failure;
use super::timer::Due;
use crate::error::Error;

/// How many inbox entries are read at once.
const INBOX_PAGE: usize = 256;

impl Owner {
    /// Reads the inbox of the partition to its end.
    pub(super) async fn read_inbox(&mut self) -> Result<(), Error> {
        loop {
            let lease = self.lease.lock().clone();
            let journal = Arc::clone(&self.shared.ports.journal);
            let entries = journal.inbox(&lease, self.inbox_after, INBOX_PAGE).await?;
            let full = entries.len() == INBOX_PAGE;
            for InboxEntry { seq, run, request } in entries {
                self.inbox_after = seq;
                let done = match request {
                    Request::Submit(submission) => {
                        self.submitted(&submission);
                        true
                    }
                    Request::Import => {
                        if !self.runs.contains_key(&run) {
                            self.restore(run, None).await?;
                        }
                        true
                    }
                    Request::Command(command) => self.command(run, command).await?,
                };
                if done {
                    self.batch.consume(seq);
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn submitted(&mut self, submission: &Arc<Submission>) {
        let run = submission.run;
        self.backlog.taken_up(run);
        if self.runs.contains_key(&run) {
            return;
        }
        match self.build(submission) {
            Ok(mut active) => {
                active.had_parent = active.parent.is_some();
                let tasks = active.machine.scheduler().len();
                tracing::debug!(%run, tasks, "taking a run up");
                let deadline = active.deadline;
                self.runs.insert(run, active);
                if let Some(deadline) = deadline {
                    self.timers.push(deadline, run, Due::RunDeadline);
                }
                self.start_or_wait(run);
            }
            Err(failure) => {
                let failure = encode_failure(&failure);
                let settled = RecordKind::Settled(Settlement::Failed { failure });
                self.batch.push(run, settled.at(self.now));
            }
        }
    }

    pub(super) fn cancelled(&mut self, run: RunId, reason: Arc<str>) {
        if self.stuck.contains(&run) {
            return self.settle_stuck(run, Settlement::Cancelled { reason });
        }
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        if active.machine.is_settled() {
            return;
        }
        if active.machine.scheduler().is_settled() {
            // Only the aggregator is still at work, and is not waited for.
            return self.settle(run, Settlement::Cancelled { reason });
        }
        self.must(run, RecordKind::RunCancelled { reason });
    }
}
