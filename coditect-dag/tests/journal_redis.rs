//! The contract of a journal over a store that two processes share: Redis.

use std::sync::Arc;

use coditect_dag::journal::conformance::Subject;
use coditect_dag::journal::{PartitionCount, StoreJournal, StoreJournalConfig};
use coditect_harness::{Redis, required};
use coditect_state::{MemoryStore, RedisStore, StateStore};

/// Two stores, each with a connection of its own. Where there is to be no server, which is said, the rules run on memory.
async fn stores() -> [Arc<dyn StateStore>; 2] {
    let Some(server) = required(Redis::shared()).await else {
        let memory = Arc::new(MemoryStore::new());
        return [memory.clone(), memory];
    };
    let builder = RedisStore::builder(server.url()).with_namespace(Redis::namespace());
    let store = async || Arc::new(builder.clone().connect().await.expect("a store"));
    [store().await, store().await]
}

async fn subject() -> Subject {
    let count = PartitionCount::new(4).expect("four is not zero");
    let config = StoreJournalConfig::default().with_partitions(count);
    let open = async |store| {
        let journal = StoreJournal::open(store, config.clone()).await;
        journal.expect("a journal")
    };
    let [one, two] = stores().await;
    Subject::new(open(one).await).with_other(open(two).await)
}

coditect_dag::journal_conformance!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    subject
);
