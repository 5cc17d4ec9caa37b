//! A transaction of a guarded store.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coditect_state::{CommitVersion, Error, ErrorKind, Page, Range, Result, Stamped, Transaction};

use super::circuit::Circuit;

/// Guards what goes to the store: reads and the commit. Writes are kept until then.
#[derive(Debug)]
pub(super) struct GuardedTransaction {
    pub(super) transaction: Box<dyn Transaction>,
    pub(super) circuit: Circuit,
    pub(super) time_limit: Duration,
    /// None where nobody looks for the outcome of a commit.
    pub(super) commit_limit: Option<Duration>,
}

#[async_trait]
impl Transaction for GuardedTransaction {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        let call = self.transaction.get(key);
        self.circuit.call(Some(self.time_limit), call).await
    }

    async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        let call = self.transaction.get_snapshot(key);
        self.circuit.call(Some(self.time_limit), call).await
    }

    async fn range(&mut self, range: Range) -> Result<Page> {
        let call = self.transaction.range(range);
        self.circuit.call(Some(self.time_limit), call).await
    }

    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.transaction.set(key, value)
    }

    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        self.transaction.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.transaction.set_stamped_value(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.transaction.clear(key)
    }

    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        self.transaction.clear_range(begin, end)
    }

    fn size(&self) -> usize {
        self.transaction.size()
    }

    async fn commit(self: Box<Self>) -> Result<CommitVersion> {
        let Self {
            transaction,
            circuit,
            commit_limit,
            ..
        } = *self;
        let late = |text| Error::new(ErrorKind::OutcomeUnknown, text);
        circuit
            .call_or(commit_limit, transaction.commit(), late)
            .await
    }
}
