//! The store on a real Redis: the contract, and what a server and a network can do to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coditect_harness::{Redis, Relay, required};
use coditect_state::{
    ErrorKind, MemoryStore, RedisStore, Result, StateObserver, StateStore, StateStoreExt,
    TransactOptions, TransactionExt, Tx,
};

/// The contract, on a server that all tests share.
mod conformance {
    use super::*;

    /// Where there is to be no server, which is said, the rules run on memory.
    async fn store() -> Arc<dyn StateStore> {
        match required(Redis::shared()).await {
            Some(server) => Arc::new(super::store(&server.url()).await.expect("a store")),
            None => Arc::new(MemoryStore::new()),
        }
    }

    coditect_state::conformance_tests!(store());
}

/// A store of its own on a server.
async fn store(url: &str) -> Result<RedisStore> {
    let name = Redis::namespace();
    RedisStore::builder(url)
        .with_namespace(name)
        .connect()
        .await
}

async fn add(store: &RedisStore) -> Result<()> {
    let patient = TransactOptions::new().with_timeout(Duration::from_secs(20));
    let add = |mut tx: Tx| async move {
        let count = tx.get_json::<u64>(b"count").await?.unwrap_or(0);
        tx.set_json(b"count", &(count + 1))
    };
    store.transact_with(patient, add).await
}

async fn count(store: &RedisStore) -> Result<u64> {
    let count = store.begin().await?.get_json(b"count").await?;
    Ok(count.unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_a_killed_server_and_versions_grow() -> Result<()> {
    let Some(server) = required(Redis::private(&["appendfsync always"])).await else {
        return Ok(());
    };
    let store = store(&server.url()).await?;
    let mut before = coditect_state::CommitVersion::default();
    for round in 0..3 {
        for _ in 0..10 {
            add(&store).await?;
        }
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        let mut tx = loop {
            // The first call finds out that its connection is gone.
            let mut tx = store.begin().await?;
            match tx.get(b"count").await {
                Ok(_) => break tx,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
            }
        };
        tx.set(b"mark", Bytes::new())?;
        let version = tx.commit().await?;
        assert!(version > before);
        before = version;
        assert_eq!(count(&store).await?, 10 * (round + 1));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_cut_off_half_way_are_resolved_and_counted_once() -> Result<()> {
    let Some(server) = required(Redis::shared()).await else {
        return Ok(());
    };
    let relay = Relay::start(server.place()).await.unwrap();
    let lost = Arc::new(Lost::default());
    let builder = RedisStore::builder(server.url_through(relay.addr()));
    let builder = builder.with_namespace(Redis::namespace());
    let store = builder.with_observer(lost.clone()).connect().await?;
    // So slow that a commit is on its way for milliseconds, whatever else the machine does.
    relay.slow(50_000);
    let mut rounds = 0;
    while rounds < 1_000 && lost.resolved.load(Ordering::SeqCst) < 5 {
        let cut = async {
            // Somewhere within the read, the commit and its answer.
            tokio::time::sleep(Duration::from_millis((rounds * 7) % 40)).await;
            relay.cut();
        };
        let (added, ()) = futures::join!(add(&store), cut);
        added?;
        rounds += 1;
    }
    relay.resume();
    assert_eq!(count(&store).await?, rounds);
    let resolved = lost.resolved.load(Ordering::SeqCst);
    assert!(
        resolved > 0,
        "no answer to a commit was lost in {rounds} rounds"
    );
    Ok(())
}

/// Counts commits whose answer was lost.
#[derive(Debug, Default)]
struct Lost {
    resolved: AtomicUsize,
}

impl StateObserver for Lost {
    fn outcome_resolved(&self, _: bool) {
        self.resolved.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_said_to_be_unknown() -> Result<()> {
    let Some(server) = required(Redis::private(&[])).await else {
        return Ok(());
    };
    let builder =
        RedisStore::builder(server.url()).with_response_timeout(Duration::from_millis(300));
    let store = builder.connect().await?;
    let mut tx = store.begin().await?;
    tx.get(b"a").await?;
    tx.set(b"a", "1".into())?;
    server.pause().await.unwrap();
    let error = tx.commit().await.expect_err("nobody answers");
    server.resume().await.unwrap();
    assert!(error.outcome_unknown(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn those_who_wait_for_a_connection_that_fails_do_not_wait_for_another_each() -> Result<()> {
    let Some(server) = required(Redis::shared()).await else {
        return Ok(());
    };
    let relay = Relay::start(server.place()).await.unwrap();
    let store = RedisStore::builder(server.url_through(relay.addr()))
        .with_namespace(Redis::namespace())
        .with_response_timeout(Duration::from_millis(200))
        .with_connect_timeout(Duration::from_millis(400))
        .connect()
        .await?;
    relay.stall();
    let read = async || store.begin().await?.get(b"key").await;
    read().await.expect_err("nobody answers");
    let before = relay.accepted();
    let asked = futures::future::join_all((0..16).map(|_| read()));
    for answer in asked.await {
        let error = answer.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    // One of them has tried, and beside them whoever follows the changes.
    let tried = relay.accepted() - before;
    assert!(tried < 8, "{tried} connections for 16 callers");
    relay.resume();
    read().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_the_script_is_told_again() -> Result<()> {
    let Some(server) = required(Redis::private(&[])).await else {
        return Ok(());
    };
    let store = store(&server.url()).await?;
    for _ in 0..3 {
        add(&store).await?;
        server.cli(&["SCRIPT", "FLUSH"]).await.unwrap();
    }
    assert_eq!(count(&store).await?, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_outlive_a_restart_and_miss_nothing() -> Result<()> {
    let Some(server) = required(Redis::private(&[])).await else {
        return Ok(());
    };
    let name = Redis::namespace();
    let open = async || {
        RedisStore::builder(server.url())
            .with_namespace(&name)
            .connect()
            .await
    };
    let (watching, writing) = (open().await?, open().await?);
    let mut watch = watching.watch(b"count").await?;
    add(&writing).await?;
    watch.changed().await?;
    server.restart().await.unwrap();
    add(&writing).await?;
    while count(&watching).await.unwrap_or(0) < 2 {
        watch.changed().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_over_an_emptied_server_conflicts_and_versions_grow() -> Result<()> {
    let Some(server) = required(Redis::private(&[])).await else {
        return Ok(());
    };
    let store = store(&server.url()).await?;
    let mut tx = store.begin().await?;
    tx.get(b"a").await?;
    tx.set(b"a", "1".into())?;
    let mut first = store.begin().await?;
    first.set(b"b", "1".into())?;
    let before = first.commit().await?;
    server.cli(&["FLUSHALL"]).await.unwrap();
    let error = tx.commit().await.expect_err("what it read is gone");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let mut tx = store.begin().await?;
    tx.set(b"b", "2".into())?;
    assert!(tx.commit().await? > before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_and_shown_nowhere() -> Result<()> {
    let server = Redis::options().with_password("right-secret").start();
    let Some(server) = required(server).await else {
        return Ok(());
    };
    store(&server.url()).await?;
    let url = server.url().replace("right-secret", "wrong-secret");
    let error = store(&url).await.expect_err("the password is wrong");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused() -> Result<()> {
    let Some(evicting) = required(Redis::private(&["maxmemory-policy allkeys-lru"])).await else {
        return Ok(());
    };
    let volatile = Redis::options().in_memory().start().await.unwrap();
    for (server, named) in [(&evicting, "maxmemory-policy"), (&volatile, "appendonly")] {
        let error = store(&server.url()).await.expect_err("it is not safe");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(named), "{cause}");
        RedisStore::builder(server.url())
            .with_volatile_server()
            .connect()
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_and_loses_nothing() -> Result<()> {
    let Some(server) = required(Redis::private(&["maxmemory 20mb"])).await else {
        return Ok(());
    };
    let store = store(&server.url()).await?;
    let put = async |number: u32| {
        let mut tx = store.begin().await?;
        for part in 0..20 {
            tx.set(
                format!("{number:03}/{part:02}").as_bytes(),
                vec![7; 50_000].into(),
            )?;
        }
        tx.commit().await
    };
    let mut taken = 0;
    let error = loop {
        match put(taken).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "the server was to fill up");
    };
    assert!(error.is_retryable(), "{error:?}");
    let keys = async |store: &RedisStore| {
        let range = coditect_state::Range::bounds::<&[u8]>(..);
        Ok::<_, coditect_state::Error>(store.begin().await?.range_all(range).await?.len())
    };
    assert_eq!(keys(&store).await?, 20 * taken as usize);
    server
        .cli(&["CONFIG", "SET", "maxmemory", "200mb"])
        .await
        .unwrap();
    put(taken).await?;
    assert_eq!(keys(&store).await?, 20 * (taken + 1) as usize);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_of_many_processes_are_all_counted() -> Result<()> {
    let Some(server) = required(Redis::shared()).await else {
        return Ok(());
    };
    let name = Redis::namespace();
    let mut workers = Vec::new();
    for _ in 0..4 {
        let builder = RedisStore::builder(server.url()).with_namespace(&name);
        let store = Arc::new(builder.connect().await?);
        workers.push(tokio::spawn(async move {
            for _ in 0..25 {
                add(&store).await?;
            }
            count(&store).await
        }));
    }
    let mut highest = 0;
    for worker in workers {
        highest = highest.max(worker.await.unwrap()?);
    }
    assert_eq!(highest, 100);
    Ok(())
}
