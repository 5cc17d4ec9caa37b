//! Child runs whose parents have ended without them: nobody waits for what they come to.

use std::sync::Arc;

use coditect_dag::journal::{Command, RunJournal};
use coditect_dag::{RunId, Timestamp};
use rustc_hash::FxHashMap;

use super::owner::Owner;
use crate::context::LEFT;

impl Owner {
    /// Looks, beside the loop, whether runs that others are the parents of have outlived them.
    ///
    /// The handler that waits for a child cancels it. This is for handlers whose process has died, and it is the child's
    /// owner who looks, since the parent's forgets it when it has ended.
    pub(super) fn look_for_orphans(&mut self) {
        if self
            .looking
            .as_ref()
            .is_some_and(|look| !look.is_finished())
        {
            return;
        }
        let mut children: FxHashMap<RunId, Vec<Child>> = FxHashMap::default();
        for (run, active) in &self.runs {
            if let (Some(parent), false) = (active.parent, active.machine.is_settled()) {
                children.entry(parent).or_default().push(Child {
                    run: *run,
                    had_parent: active.had_parent,
                });
            }
        }
        if !children.is_empty() {
            let journal = Arc::clone(&self.shared.ports.journal);
            let look = cancel_orphans(journal, children, self.now);
            let abort = self.shared.abort.clone();
            let look = async move {
                let _ = abort.run_until_cancelled(look).await;
            };
            self.looking = Some(self.shared.tracker.spawn(look));
        }
    }
}

struct Child {
    run: RunId,
    had_parent: bool,
}

/// Cancels the children of runs that have ended.
async fn cancel_orphans(
    journal: Arc<dyn RunJournal>,
    children: FxHashMap<RunId, Vec<Child>>,
    at: Timestamp,
) {
    for (parent, children) in children {
        // Where it cannot be read, it is looked for again.
        let Ok(summary) = journal.run(parent).await else {
            continue;
        };
        let has_ended = |child: &Child| match &summary {
            Some(summary) => summary.state.is_settled(),
            // Forgotten, or left behind by an import.
            None => child.had_parent,
        };
        for Child { run: child, .. } in children.into_iter().filter(has_ended) {
            tracing::debug!(%child, %parent, "cancelling a run whose parent has ended without it");
            let reason = LEFT.into();
            // Sent again at the next look, if the run goes on.
            drop(journal.send(child, Command::Cancel { reason, at }).await);
        }
    }
}
