//! Opening the journal of runs, and the store of what their agents share.

use std::sync::Arc;

use coditect_dag::journal::{MemoryConfig, MemoryJournal, PartitionCount};
#[cfg(any(feature = "embedded", feature = "redis"))]
use coditect_dag::journal::{StoreJournal, StoreJournalConfig};
use coditect_registry::Incarnation;
use coditect_state::MemoryStore;
#[cfg(any(feature = "embedded", feature = "redis"))]
use coditect_state::StateStore;
#[cfg(feature = "embedded")]
use coditect_state::{StateStoreExt, TransactionExt};

use super::{Source, StatePorts, StateSource, scheme};
use crate::error::Error;
use crate::ports::{Lifetime, PrivateJournal};

impl StateSource {
    /// Opens it; a journal that is new is divided into so many partitions.
    pub(in crate::runtime) async fn open(
        &self,
        partitions: PartitionCount,
    ) -> Result<(StatePorts, Option<PrivateJournal>), Error> {
        let url = match &self.0 {
            Source::Made(ports) => return Ok((ports.clone(), None)),
            Source::Url(url) => url,
        };
        match scheme(url) {
            "memory" => {
                let config = MemoryConfig::default().with_partitions(partitions);
                let journal = Arc::new(MemoryJournal::new(config));
                let name = Incarnation::fresh().to_string().into();
                let private = PrivateJournal::new(name, Lifetime::Process);
                Ok(((journal, Arc::new(MemoryStore::new())), Some(private)))
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
                let name = name_of(&store).await?;
                let ports = on(Arc::new(store), partitions).await?;
                Ok((ports, Some(PrivateJournal::new(name, Lifetime::Store))))
            }
            #[cfg(feature = "redis")]
            "redis" | "rediss" => {
                let store = coditect_state::RedisStore::connect(url).await?;
                Ok((on(Arc::new(store), partitions).await?, None))
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

/// The name of the journal in a file, which it gets when it is new and keeps.
#[cfg(feature = "embedded")]
async fn name_of(store: &coditect_state::EmbeddedStore) -> Result<Arc<str>, Error> {
    const KEY: &[u8] = b"journal-name";
    let fresh = Incarnation::fresh().to_string();
    let name = store.transact(|mut tx| {
        let fresh = fresh.clone();
        async move {
            if let Some(name) = tx.get_json::<String>(KEY).await? {
                return Ok(name);
            }
            tx.set_json(KEY, &fresh)?;
            Ok(fresh)
        }
    });
    Ok(name.await?.into())
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
