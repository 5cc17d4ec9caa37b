//! The file in which an audit is kept, so that the same command goes on with it after its process has died.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_core::dag::journal::{
    PartitionCount, RunFilter, RunJournal, StoreJournal, StoreJournalConfig,
};
use coditect_core::state::{
    EmbeddedStore, ErrorKind as StoreKind, StateStore, StateStoreExt, TransactOptions,
    TransactionExt, Tx,
};
use coditect_core::{Error, RunId, RunState, Submit};

use crate::code_audit::model::AuditReport;

/// Says by which audits are told apart: the tree, and whether its files travel.
const TREE: &str = "tree";
const CARRIED: &str = "carried";
/// Into how many partitions the journal in the file is divided; a file keeps the number that it began with.
pub(crate) const PARTITIONS: PartitionCount = PartitionCount::new(8).expect("not zero");
/// Where the run is named that was reported last.
const REPORTED: &[u8] = b"code-audit/reported";
/// Written now and then, to see whether the file can be.
const PULSE: &[u8] = b"code-audit/pulse";
const PULSE_INTERVAL: Duration = Duration::from_secs(1);
/// As large as what the audit writes at once, which needs room where a few bytes may still find some.
const PULSE_LENGTH: usize = 64 << 10;
/// How long a write is tried again.
const PATIENCE: Duration = Duration::from_secs(2);

/// A file that keeps an audit.
pub(crate) struct StateFile<'a> {
    path: &'a Path,
}

/// An audit as the file tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) tree: PathBuf,
    pub(crate) carried: bool,
}

impl<'a> StateFile<'a> {
    pub(crate) const fn new(path: &'a Path) -> Self {
        Self { path }
    }

    pub(crate) fn url(&self) -> anyhow::Result<String> {
        let path = self.path.to_str().ok_or_else(|| {
            anyhow::anyhow!(
                "the name of the state file {} is not UTF-8",
                self.path.display()
            )
        })?;
        Ok(format!("file:{path}"))
    }

    /// The audit that the file holds and nobody was told the end of, if it is of this kind.
    ///
    /// # Errors
    ///
    /// If the file holds an unfinished audit of another kind, which nobody would finish here, or cannot be used.
    pub(crate) async fn unfinished(&self, kind: &Kind) -> anyhow::Result<Option<RunId>> {
        let store = EmbeddedStore::open(self.path).await;
        let store = store.map_err(|error| self.explain(error.into()))?;
        let found = self.look(&store, kind).await;
        // Nothing holds the file any more when this returns, and the runtime can open it.
        store.close().await?;
        found
    }

    async fn look(&self, store: &EmbeddedStore, kind: &Kind) -> anyhow::Result<Option<RunId>> {
        let config = StoreJournalConfig::default().with_partitions(PARTITIONS);
        let journal = StoreJournal::open(Arc::new(store.clone()), config).await;
        let journal = journal.map_err(|error| self.explain(error.into()))?;
        let runs = journal.list(RunFilter::default()).await;
        // Ids follow the time of their submission.
        let Some(last) = runs.map_err(|error| self.explain(error.into()))?.pop() else {
            return Ok(None);
        };
        if last.state.is_settled() {
            let reported = store.transact(|mut tx| async move { tx.get_json(REPORTED).await });
            let is_new = reported.await? != Some(last.run) && last.state == RunState::Succeeded;
            return Ok(Some(last.run).filter(|_| is_new && kind.is_of(&last.labels)));
        }
        if kind.is_of(&last.labels) {
            return Ok(Some(last.run));
        }
        let unknown = String::new();
        let tree = last.labels.get(TREE).unwrap_or(&unknown);
        let how = match last
            .labels
            .get(CARRIED)
            .is_some_and(|carried| carried == "true")
        {
            true => "over a bus",
            false => "in one process",
        };
        anyhow::bail!(
            "the state file {} holds an audit of `{tree}`, {how}, that has not ended\n  \
             help: end it with the command that began it, or name another file",
            self.path.display()
        )
    }

    /// Why the file cannot be used, and what to do about it.
    pub(crate) fn explain(&self, error: Error) -> anyhow::Error {
        let chain =
            || std::iter::successors(Some(&error as &dyn std::error::Error), |it| it.source());
        let said = chain().find_map(|it| it.downcast_ref::<coditect_core::state::Error>());
        let Some(said) = said else {
            return error.into();
        };
        let causes = chain().skip_while(|it| !it.is::<coditect_core::state::Error>());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        let causes = causes.join(": ");
        let help = match said.kind() {
            StoreKind::Invalid => {
                "the folder has to exist, and it and the file have to be writable"
            }
            StoreKind::Corrupt => {
                "--state takes a file that this program made, or the name of one that does not exist yet; \
                 a damaged one is of no more use, and a newer one needs a newer release"
            }
            _ if causes.contains("no space left") => {
                "make room and repeat the command: it goes on where it was"
            }
            _ if causes.contains("another process") => {
                "wait until nobody else uses the file, or name another one"
            }
            _ => "look after the disk, and repeat the command: it goes on where it was",
        };
        let file = self.path.display();
        anyhow::anyhow!("the state file {file} cannot be used: {causes}\n  help: {help}")
    }

    /// Ends when the file can no longer be written, with the reason. Without it the audit would stand still.
    pub(crate) async fn failed(&self, store: &dyn StateStore) -> anyhow::Error {
        let mut interval = tokio::time::interval(PULSE_INTERVAL);
        let pulse = &Bytes::from(vec![0; PULSE_LENGTH]);
        loop {
            interval.tick().await;
            let write = |mut tx: Tx| async move { tx.set(PULSE, pulse.clone()) };
            let patience = TransactOptions::new().with_timeout(PATIENCE);
            if let Err(error) = store.transact_with(patience, write).await {
                return self.explain(error.into());
            }
        }
    }
}

impl Kind {
    /// Labels a run, so that it is found again.
    pub(crate) fn label(&self, run: Submit<AuditReport>) -> Submit<AuditReport> {
        run.label(TREE, self.tree.to_string_lossy())
            .label(CARRIED, self.carried.to_string())
    }

    fn is_of(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        labels
            .get(TREE)
            .is_some_and(|tree| *tree == self.tree.to_string_lossy())
            && labels
                .get(CARRIED)
                .is_some_and(|carried| *carried == self.carried.to_string())
    }
}

/// Notes that the end of a run was told, so that the same command begins anew.
pub(crate) async fn reported(store: &dyn StateStore, run: RunId) -> anyhow::Result<()> {
    Ok(store
        .transact(|mut tx| async move { tx.set_json(REPORTED, &run) })
        .await?)
}
