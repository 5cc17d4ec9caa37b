//! Opening the journal of runs, and the store of what their agents share.

use std::sync::Arc;

use coditect_dag::journal::{MemoryConfig, MemoryJournal, PartitionCount};
#[cfg(any(feature = "embedded", feature = "redis"))]
use coditect_dag::journal::{StoreJournal, StoreJournalConfig};
use coditect_state::MemoryStore;
#[cfg(any(feature = "embedded", feature = "redis"))]
use coditect_state::StateStore;

use super::{Source, StatePorts, StateSource, scheme};
use crate::error::Error;

impl StateSource {
    /// Opens it; a journal that is new is divided into so many partitions.
    pub(in crate::runtime) async fn open(
        &self,
        partitions: PartitionCount,
    ) -> Result<StatePorts, Error> {
        let url = match &self.0 {
            Source::Made((journal, store)) => return Ok((Arc::clone(journal), Arc::clone(store))),
            Source::Url(url) => url,
        };
        match scheme(url) {
            "memory" => {
                let config = MemoryConfig::default().with_partitions(partitions);
                Ok((
                    Arc::new(MemoryJournal::new(config)),
                    Arc::new(MemoryStore::new()),
                ))
            }
            #[cfg(feature = "embedded")]
            "file" => {
                let path = path(url)?;
                let opened = coditect_state::EmbeddedStore::open(path).await;
                let store = opened.map_err(|error| {
                    let error = Error::from(error);
                    let text = format!("the state store `{path}` cannot be opened");
                    Error::new(error.kind(), text).with_source(error)
                })?;
                on(Arc::new(store), partitions).await
            }
            #[cfg(feature = "redis")]
            "redis" | "rediss" => {
                let store = coditect_state::RedisStore::connect(url).await?;
                on(Arc::new(store), partitions).await
            }
            _ => Err(Self::unknown(url)),
        }
    }
}

/// Keeps runs in the store that keeps everything else.
#[cfg(any(feature = "embedded", feature = "redis"))]
async fn on(store: Arc<dyn StateStore>, partitions: PartitionCount) -> Result<StatePorts, Error> {
    let config = StoreJournalConfig::default().with_partitions(partitions);
    let journal = StoreJournal::open(Arc::clone(&store), config).await?;
    Ok((Arc::new(journal), store))
}

/// The path in `file:PATH` or `file:///PATH`, in which no host is named and nothing is escaped.
#[cfg(feature = "embedded")]
fn path(url: &str) -> Result<&str, Error> {
    let path = url.strip_prefix("file:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(Error::invalid(
            "a state store in a file is named by a URL such as `file:runs.redb`, and this one names no file",
        ));
    }
    Ok(path)
}
