//! Opening the journal of runs, and the store of what their agents share.

use std::sync::Arc;
use std::time::Duration;

use coditect_dag::journal::{MemoryConfig, MemoryJournal, PartitionCount};
#[cfg(any(feature = "embedded", feature = "redis"))]
use coditect_dag::journal::{StoreJournal, StoreJournalConfig};
use coditect_registry::Incarnation;
use coditect_state::{MemoryStore, Range, StateStore};
#[cfg(feature = "embedded")]
use coditect_state::{StateStoreExt, TransactionExt};

use super::{Source, StatePorts, StateSource, scheme};
use crate::context::belongings;
use crate::error::Error;
use crate::ports::{Lifetime, PrivateJournal};

impl StateSource {
    /// Opens it, with a guard before the store, and so before a journal that is made on it here.
    pub(in crate::runtime) async fn open(
        &self,
        terms: StateTerms,
        guard: impl FnOnce(Arc<dyn StateStore>) -> Arc<dyn StateStore> + Send,
    ) -> Result<(StatePorts, Option<PrivateJournal>), Error> {
        let url = match &self.0 {
            Source::Made((journal, store)) => {
                return Ok(((Arc::clone(journal), guard(Arc::clone(store))), None));
            }
            Source::Url(url) => url,
        };
        match scheme(url) {
            "memory" => {
                let store = Arc::new(MemoryStore::new());
                let journal = Arc::new(in_memory(terms, &store));
                let store = guard(store);
                let name = Incarnation::fresh().to_string().into();
                let private = PrivateJournal::new(name, Lifetime::Process);
                Ok(((journal, store), Some(private)))
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
                // The file is locked, so nobody else is there who could own anything.
                let config = terms.of_store().with_sole_user();
                let ports = on(guard(Arc::new(store)), config).await?;
                Ok((ports, Some(PrivateJournal::new(name, Lifetime::Store))))
            }
            #[cfg(feature = "redis")]
            "redis" | "rediss" => {
                let store = coditect_state::RedisStore::connect(url).await?;
                Ok((on(guard(Arc::new(store)), terms.of_store()).await?, None))
            }
            _ => Err(Self::unknown(url)),
        }
    }
}

/// Says how a journal is made that the caller has not made.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct StateTerms {
    /// Into how many partitions a new one is divided.
    pub(in crate::runtime) partitions: PartitionCount,
    /// How many settled runs are kept, and how long, where that was said.
    pub(in crate::runtime) retention: Option<(u64, Duration)>,
}

impl StateTerms {
    #[cfg(any(feature = "embedded", feature = "redis"))]
    fn of_store(self) -> StoreJournalConfig {
        let config = StoreJournalConfig::default().with_partitions(self.partitions);
        let config = belongings()
            .into_iter()
            .fold(config, |config, (_, space)| config.with_belongings(space));
        match self.retention {
            Some((runs, age)) => config.with_max_settled(runs).with_max_age(age),
            None => config,
        }
    }
}

/// Makes a journal in memory that takes with a run what the store keeps of it.
fn in_memory(terms: StateTerms, store: &Arc<MemoryStore>) -> MemoryJournal {
    let store = Arc::clone(store);
    let config = MemoryConfig::default()
        .with_partitions(terms.partitions)
        .with_on_forget(move |run| {
            for (_, space) in belongings() {
                store.clear_range(&Range::prefix(&space.pack(&(run.as_uuid(),))));
            }
        });
    MemoryJournal::new(match terms.retention {
        Some((runs, age)) => config
            .with_max_settled(usize::try_from(runs).unwrap_or(usize::MAX))
            .with_max_age(age),
        None => config,
    })
}

/// Keeps runs in the store that keeps everything else.
#[cfg(any(feature = "embedded", feature = "redis"))]
async fn on(store: Arc<dyn StateStore>, config: StoreJournalConfig) -> Result<StatePorts, Error> {
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
