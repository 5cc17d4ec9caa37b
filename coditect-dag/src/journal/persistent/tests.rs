//! The contract over stores, and what the contract does not ask of every journal.

mod content;
mod keeping;
mod moving;

use coditect_state::{EmbeddedStore, MemoryStore};

use super::*;
use crate::journal::conformance::Subject;

fn config() -> StoreJournalConfig {
    let count = PartitionCount::new(4).unwrap();
    StoreJournalConfig::default().with_partitions(count)
}

/// Two journals over one store: what one has in memory, the other has to find.
async fn over(store: Arc<dyn StateStore>, config: StoreJournalConfig) -> Subject {
    let journal = StoreJournal::open(store.clone(), config.clone()).await;
    let other = StoreJournal::open(store, config).await;
    Subject::new(journal.unwrap()).with_other(other.unwrap())
}

mod memory {
    use super::*;

    async fn subject() -> Subject {
        over(Arc::new(MemoryStore::new()), config()).await
    }

    crate::journal_conformance!(
        #[tokio::test(start_paused = true)]
        subject
    );
}

mod memory_without_events_behind_snapshots {
    use super::*;

    async fn subject() -> Subject {
        let config = config().with_events_behind_snapshot(0);
        over(Arc::new(MemoryStore::new()), config).await
    }

    crate::journal_conformance!(
        #[tokio::test(start_paused = true)]
        subject
    );
}

mod embedded {
    use super::*;

    async fn subject() -> Subject {
        let directory = tempfile::tempdir().unwrap();
        // The name goes with the directory; the file stays for as long as it is open.
        let store = EmbeddedStore::open(directory.path().join("store")).await;
        over(Arc::new(store.unwrap()), config()).await
    }

    crate::journal_conformance!(
        #[tokio::test]
        subject
    );
}
