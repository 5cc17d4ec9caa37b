//! What the conformance suite does not ask of every store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::conformance::history_is_serial;
use crate::error::ErrorKind;
use crate::range::Range;

mod conformance {
    use std::sync::Arc;

    use crate::MemoryStore;

    crate::conformance_tests!(async { Arc::new(MemoryStore::new()) });
}

async fn put(store: &MemoryStore, key: &str, value: &str) -> Result<()> {
    let mut tx = store.begin().await?;
    tx.set(key.as_bytes(), value.to_owned().into())?;
    tx.commit().await.map(|_| ())
}

fn remembered(store: &MemoryStore) -> usize {
    store.shared.inner.lock().history.remembered()
}

#[tokio::test]
async fn hundreds_of_seeded_histories_are_serial() -> Result<()> {
    for seed in 1_000..1_400 {
        history_is_serial(&MemoryStore::new(), seed).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn histories_across_threads_are_serial() -> Result<()> {
    // Two histories at once on different stores keep all threads busy.
    let runs = (0..4u64).map(|lane| {
        tokio::spawn(async move {
            for seed in 0..50 {
                history_is_serial(&MemoryStore::new(), lane << 32 | seed).await?;
            }
            Ok::<_, crate::Error>(())
        })
    });
    for run in futures::future::join_all(runs).await {
        run.expect("no history panics")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_increments_across_threads_are_all_counted() -> Result<()> {
    use crate::{StateStoreExt, TransactionExt};
    let store = MemoryStore::new();
    let workers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..100 {
                let increment = |mut tx: crate::Tx| async move {
                    let count = tx.get_json::<u64>(b"count").await?.unwrap_or(0);
                    tokio::task::yield_now().await;
                    tx.set_json(b"count", &(count + 1))
                };
                let patient = crate::TransactOptions::new().with_max_attempts(10_000);
                store.transact_with(patient, increment).await?;
            }
            Ok::<_, crate::Error>(())
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.expect("no worker panics")?;
    }
    assert_eq!(
        store.begin().await?.get(b"count").await?.as_deref(),
        Some(&b"800"[..])
    );
    Ok(())
}

#[tokio::test]
async fn nothing_old_is_remembered_without_readers() -> Result<()> {
    let store = MemoryStore::new();
    for n in 0..100 {
        put(&store, &format!("k{}", n % 10), "v").await?;
    }
    let mut tx = store.begin().await?;
    tx.clear_range(b"k", b"l")?;
    tx.commit().await?;
    assert_eq!(remembered(&store), 0);
    assert_eq!(store.shared.inner.lock().history.len(), 0);
    Ok(())
}

#[tokio::test]
async fn what_a_reader_needed_is_forgotten_after_it() -> Result<()> {
    let store = MemoryStore::new();
    for n in 0..10 {
        put(&store, &format!("k{n}"), "old").await?;
    }
    let mut reader = store.begin().await?;
    assert!(reader.get(b"k0").await?.is_some());
    for n in 0..10 {
        put(&store, &format!("k{n}"), "new").await?;
    }
    let mut tx = store.begin().await?;
    tx.clear_range(b"k5", b"l")?;
    tx.commit().await?;
    assert!(remembered(&store) >= 10);
    assert_eq!(reader.range(Range::prefix(b"k")).await?.entries.len(), 10);
    drop(reader);
    for _ in 0..10 {
        put(&store, "other", "v").await?;
    }
    assert_eq!(remembered(&store), 0);
    assert_eq!(store.shared.inner.lock().history.len(), 6);
    Ok(())
}

#[tokio::test]
async fn an_idle_reader_does_not_hold_history_for_ever() -> Result<()> {
    let store = MemoryStore::builder().with_history(10).build();
    put(&store, "a", "0").await?;
    let mut idle = store.begin().await?;
    idle.get(b"a").await?;
    idle.set(b"b", Bytes::new())?;
    for n in 0..100 {
        put(&store, "a", &n.to_string()).await?;
    }
    assert!(remembered(&store) <= 1);
    assert_eq!(
        idle.get(b"a").await.expect_err("its state is gone").kind(),
        ErrorKind::Conflict
    );
    assert_eq!(
        idle.commit().await.expect_err("its state is gone").kind(),
        ErrorKind::Conflict
    );
    Ok(())
}

#[tokio::test]
async fn watches_that_nobody_holds_are_swept() -> Result<()> {
    let store = MemoryStore::new();
    for n in 0..10_000 {
        drop(store.watch(format!("k{n}").as_bytes()).await?);
    }
    assert!(store.shared.inner.lock().watches.len() <= 64);
    Ok(())
}

#[tokio::test]
async fn a_watch_outlives_the_store_only_with_an_error() -> Result<()> {
    let store = MemoryStore::new();
    let mut watch = store.watch(b"a").await?;
    drop(store);
    assert_eq!(
        watch.changed().await.expect_err("no store").kind(),
        ErrorKind::Unavailable
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_clock_follows_tokio() -> Result<()> {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let before = store.now().await?;
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(store.now().await?, before + Duration::from_secs(3600));
    Ok(())
}
