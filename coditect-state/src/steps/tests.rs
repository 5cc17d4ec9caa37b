use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Barrier, Notify};

use super::*;
use crate::error::ErrorKind;
use crate::memory::MemoryStore;

fn steps(store: &MemoryStore) -> Steps {
    Steps::new(Arc::new(store.clone()), Subspace::new(&("steps",)))
}

#[tokio::test]
async fn a_second_call_returns_the_kept_result_without_running() -> Result<()> {
    let (store, runs) = (MemoryStore::new(), &AtomicU32::new(0));
    for _ in 0..3 {
        // As after a restart: nothing but the store is left.
        let value = steps(&store)
            .once("a", async || {
                Ok::<_, Error>(runs.fetch_add(1, Ordering::Relaxed))
            })
            .await?;
        assert_eq!(value, 0);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(steps(&store).kept::<u32>("a").await?, Some(0));
    assert_eq!(
        steps(&store).once("b", async || Ok::<_, Error>(7)).await?,
        7
    );
    Ok(())
}

#[tokio::test]
async fn errors_are_not_kept() -> Result<()> {
    let steps = steps(&MemoryStore::new());
    let failed = steps
        .once("a", async || Err::<u32, _>(Error::abort("not today")))
        .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Aborted);
    assert_eq!(steps.kept::<u32>("a").await?, None);
    assert_eq!(steps.once("a", async || Ok::<_, Error>(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn callers_that_share_steps_run_one_of_them() -> Result<()> {
    let (steps, runs) = (steps(&MemoryStore::new()), &AtomicU32::new(0));
    let callers = (0..10).map(|_| {
        let steps = steps.clone();
        async move {
            let step = async || {
                tokio::task::yield_now().await;
                Ok::<_, Error>(runs.fetch_add(1, Ordering::Relaxed))
            };
            steps.once("a", step).await
        }
    });
    assert_eq!(futures::future::try_join_all(callers).await?, [0; 10]);
    assert!(steps.running.lock().is_empty(), "no lock is left behind");
    Ok(())
}

#[tokio::test]
async fn a_waiter_runs_when_the_first_caller_fails_or_is_dropped() -> Result<()> {
    let steps = &steps(&MemoryStore::new());
    let (started, hang) = (&Notify::new(), &Notify::new());
    let dropped = steps.once("a", async || {
        started.notify_one();
        hang.notified().await;
        Ok::<_, Error>(1)
    });
    let waiter = async {
        started.notified().await;
        steps.once("a", async || Ok::<_, Error>(2)).await
    };
    let mut waiter = std::pin::pin!(waiter);
    tokio::select! {
        biased;
        _ = dropped => panic!("it hangs"),
        _ = &mut waiter => panic!("the first one still runs"),
        () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(waiter.await?, 2);
    assert!(steps.running.lock().is_empty(), "no lock is left behind");
    Ok(())
}

#[tokio::test]
async fn of_callers_that_share_nothing_the_first_to_commit_wins() -> Result<()> {
    let (store, both_run) = (MemoryStore::new(), &Barrier::new(2));
    let call = |value: u32| {
        let steps = steps(&store);
        async move {
            let step = async || {
                both_run.wait().await;
                Ok::<_, Error>(value)
            };
            steps.once("a", step).await
        }
    };
    let (one, two) = futures::try_join!(call(1), call(2))?;
    assert_eq!(one, two);
    assert_eq!(steps(&store).kept::<u32>("a").await?, Some(one));
    Ok(())
}

#[tokio::test]
async fn forgetting_ends_with_the_scope() -> Result<()> {
    let store = MemoryStore::new();
    let other = Steps::new(Arc::new(store.clone()), Subspace::new(&("steps2",)));
    other.once("a", async || Ok::<_, Error>(1)).await?;
    steps(&store).once("a", async || Ok::<_, Error>(2)).await?;
    steps(&store).forget().await?;
    assert_eq!(steps(&store).kept::<u32>("a").await?, None);
    assert_eq!(other.kept::<u32>("a").await?, Some(1));
    Ok(())
}

#[tokio::test]
async fn a_result_over_the_limit_or_of_another_type_is_a_clear_error() -> Result<()> {
    let steps = steps(&MemoryStore::new());
    let large = steps
        .once("a", async || Ok::<_, Error>("x".repeat(100_000)))
        .await
        .unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    steps
        .once("b", async || Ok::<_, Error>("text".to_owned()))
        .await?;
    let other = steps
        .once("b", async || Ok::<_, Error>(1u32))
        .await
        .unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Corrupt);
    Ok(())
}
