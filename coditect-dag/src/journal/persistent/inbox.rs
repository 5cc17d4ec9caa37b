//! A partition's inbox: entries in the order of their commits, until an append takes them out.

use bytes::Bytes;
use coditect_state::{Result, StateStoreExt, Transaction, Tx};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::blob::{self, Belongs, Blobs};
use super::error::{corrupt, unknown_run};
use super::head::{self};
use super::payload::{BlobRef, Payload};
use super::{INLINE, StoreJournal};
use crate::RunId;
use crate::journal::{Command, Error, InboxEntry, Partition, PartitionLease, Request, Seq};

/// Is an entry as it lies in the store; a submission lies elsewhere.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EntryRow {
    pub(super) run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
    /// The hash and the length of the command's content where that is large and lies by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<(String, u64)>,
    /// Whether the run came with records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    imported: bool,
}

impl EntryRow {
    pub(super) const fn submission(run: RunId) -> Self {
        Self {
            run,
            command: None,
            content: None,
            imported: false,
        }
    }

    pub(super) fn import(run: RunId) -> Self {
        Self {
            imported: true,
            ..Self::submission(run)
        }
    }

    /// Says whether it brings the run itself.
    pub(super) const fn is_submission(&self) -> bool {
        self.command.is_none()
    }
}

impl StoreJournal {
    /// Puts an entry into the inbox, as the last of all at commit.
    pub(super) fn arrive(
        &self,
        tx: &mut dyn Transaction,
        partition: Partition,
        entry: EntryRow,
    ) -> Result<()> {
        let row = head::encode(&entry)?;
        tx.set_stamped_key(self.keys.new_entry(partition), row)?;
        let stamp = coditect_state::Stamped::new("", 0, "");
        tx.set_stamped_value(&self.keys.arrivals(partition), stamp)
    }

    pub(super) async fn send_command(
        &self,
        run: RunId,
        command: Command,
    ) -> std::result::Result<(), Error> {
        let (command, content) = &self.lighten(run, command).await?;
        let send = |mut tx: Tx| async move {
            // Read, so that a run cannot be forgotten meanwhile.
            if tx.get(&self.keys.submission(run)).await?.is_none() {
                return Err(unknown_run());
            }
            let entry = EntryRow {
                command: Some(command.clone()),
                content: content.clone(),
                ..EntryRow::submission(run)
            };
            self.arrive(&mut *tx, self.home(run), entry)
        };
        Ok(self.store.transact(send).await?)
    }

    /// Stores the content of a command apart where that is large; the run has it once, also when it is recorded.
    async fn lighten(
        &self,
        run: RunId,
        mut command: Command,
    ) -> std::result::Result<(Command, Option<(String, u64)>), Error> {
        let large = match &mut command {
            Command::Patch { patch, .. } if patch.len() > INLINE => std::mem::take(patch),
            _ => return Ok((command, None)),
        };
        blob::store(&*self.store, &self.keys, run, Belongs::ToKnown, &[&large]).await?;
        let content = match Payload::from(BlobRef::of(&large)) {
            Payload::Blob(hash, length) => Some((hash.into_owned(), length)),
            _ => None,
        };
        Ok((command, content))
    }

    pub(super) async fn read_inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> std::result::Result<Vec<InboxEntry>, Error> {
        self.check_partition(lease.partition())?;
        let read = |mut tx: Tx| async move {
            self.check_owner(&mut *tx, lease).await?;
            let mut entries = Vec::new();
            let mut next = Some(self.keys.entries_after(lease.partition(), after).snapshot());
            while let Some(range) = next.filter(|_| entries.len() < limit) {
                let left = (limit - entries.len()).min(coditect_state::Range::DEFAULT_LIMIT);
                let page = tx.range(range.with_limit(left)).await?;
                for entry in page.entries {
                    let seq = self.keys.entry_seq(&entry.key);
                    let seq =
                        seq.ok_or_else(|| corrupt("an inbox has a foreign key", "no stamp"))?;
                    let row: EntryRow = head::decode(&entry.value)?;
                    let run = row.run;
                    let request = match row.command {
                        Some(mut command) => {
                            if let (Command::Patch { patch, .. }, Some((hash, length))) =
                                (&mut command, row.content)
                            {
                                let named = Payload::Blob(hash.into(), length);
                                if let Err(blob) = named.content(&Bytes::new())? {
                                    let mut blobs = Blobs::new(&self.keys, run);
                                    *patch = blobs.fetch(&mut *tx, blob).await?;
                                }
                            }
                            Request::Command(command)
                        }
                        None if row.imported => Request::Import,
                        None => {
                            let submission = self.submission(&mut *tx, run).await?;
                            Request::Submit(Arc::new(submission.ok_or_else(unknown_run)?))
                        }
                    };
                    entries.push(InboxEntry { seq, run, request });
                }
                next = page.next;
            }
            Ok(entries)
        };
        Ok(self.store.transact(read).await?)
    }
}
