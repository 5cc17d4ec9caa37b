//! Which run an idempotency key stands for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::RunId;
use crate::journal::Submission;

/// The runs by tenant and idempotency key.
///
/// Callers choose the keys, so the maps hash with a secret, unlike those that are keyed by run ids.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<Arc<str>, HashMap<String, RunId>>);

impl Keys {
    pub(super) fn run(&self, tenant: &str, key: &str) -> Option<RunId> {
        self.0.get(tenant)?.get(key).copied()
    }

    pub(super) fn insert(&mut self, tenant: Arc<str>, key: String, run: RunId) {
        self.0.entry(tenant).or_default().insert(key, run);
    }

    /// Forgets the key of a submission, unless it stands for another run by now.
    pub(super) fn remove(&mut self, submission: &Submission) {
        let Some(key) = &submission.idempotency_key else {
            return;
        };
        let Some(of_tenant) = self.0.get_mut(&submission.tenant) else {
            return;
        };
        if of_tenant.get(key) == Some(&submission.run) {
            of_tenant.remove(key);
        }
        if of_tenant.is_empty() {
            self.0.remove(&submission.tenant);
        }
    }
}
