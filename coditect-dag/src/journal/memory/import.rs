//! Taking in a run that another journal kept.

use super::MemoryJournal;
use crate::journal::{Error, ErrorKind, RunLog};

impl MemoryJournal {
    pub(super) fn import_now(&self, log: &RunLog) -> Result<(), Error> {
        if log.snapshot.is_some() {
            let text = "the beginning of the run's log is missing";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let submission = &log.submission;
        let slot = self.slot_of(submission.run);
        let (tenant, max_tasks) = (&submission.tenant, self.config.max_tasks);
        let mut keys = self.keys.lock();
        if let Some(key) = &submission.idempotency_key
            && let Some(other) = keys.run(tenant, key)
            && self.knows(other)
        {
            let text = "another run has the idempotency key";
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        let imported = slot.state.lock().import(log, max_tasks)?;
        if let Some(key) = &submission.idempotency_key {
            keys.insert(tenant.clone(), key.clone(), submission.run);
        }
        drop(keys);
        slot.arrivals.notify();
        if let Some(hint) = imported.hint {
            hint.notify();
        }
        if let Some(settled) = imported.settled {
            self.retention.lock().extend(vec![settled]);
            self.sweep();
        }
        Ok(())
    }
}
