//! The crate as a third party sees it: the suite on a store, and transactions in spawned tasks.

use std::sync::Arc;

use async_trait::async_trait;
use coditect_state::key::Subspace;
use coditect_state::{
    Blackboard, Election, MemoryStore, Result, StateStore, StateStoreExt, Steps, TransactionExt, Tx,
};

mod memory {
    use std::sync::Arc;

    use coditect_state::MemoryStore;

    coditect_state::conformance_tests!(async { Arc::new(MemoryStore::new()) });
}

#[cfg(feature = "embedded")]
mod embedded {
    use std::sync::Arc;

    use coditect_state::EmbeddedStore;

    async fn store() -> Arc<EmbeddedStore> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The name goes with the directory; the file stays for as long as it is open.
        let store = EmbeddedStore::open(directory.path().join("store")).await;
        Arc::new(store.expect("a store"))
    }

    coditect_state::conformance_tests!(store());
}

#[async_trait]
trait Counter {
    async fn next(&self, name: &str) -> Result<u64>;
}

struct Counters<S: ?Sized>(Arc<S>);

#[async_trait]
impl<S: StateStore + ?Sized> Counter for Counters<S> {
    async fn next(&self, name: &str) -> Result<u64> {
        let increment = |mut tx: Tx| async move {
            let next = tx.get_json(name.as_bytes()).await?.unwrap_or(0) + 1;
            tx.set_json(name.as_bytes(), &next)?;
            Ok(next)
        };
        self.0.transact(increment).await
    }
}

#[tokio::test]
async fn transactions_run_in_spawned_tasks_behind_traits_and_generics() -> Result<()> {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let task = tokio::spawn(async move {
        let counter: Box<dyn Counter + Send + Sync> = Box::new(Counters(store.clone()));
        let name = String::from("runs");
        counter.next(&name).await?;
        let leadership = Election::new(store.clone(), Subspace::new(&("leases",)), "a", "b")
            .campaign()
            .await?;
        let board = Blackboard::new(store.clone(), Subspace::new(&("board",)));
        board
            .update("n", |n: &mut Option<usize>| *n = Some(name.len()))
            .await?;
        let steps = Steps::new(store, Subspace::new(&("steps",)));
        let kept = steps
            .once("step", async || counter.next(&name).await)
            .await?;
        leadership.release().await?;
        Ok::<_, coditect_state::Error>((kept, board.get("n").await?))
    });
    assert_eq!(
        task.await.expect("the task does not panic")?,
        (2, Some(4usize))
    );
    Ok(())
}
