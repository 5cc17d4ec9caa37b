mod network;

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use self::network::{BadNetwork, Fate};
use super::*;
use crate::key::Subspace;
use crate::memory::MemoryStore;
use crate::range::Range;
use crate::transaction::TransactionExt;

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_found_by_the_operation_key_and_not_repeated() -> Result<()> {
    let store = BadNetwork::new([Fate::LostAnswer]);
    assert_eq!(store.increment().await?, 1);
    assert_eq!(store.count().await, Some(1));
    assert_eq!(store.events(), ["happened: true", "committed after 1"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_repeated() -> Result<()> {
    let store = BadNetwork::new([Fate::LostRequest]);
    assert_eq!(store.increment().await?, 1);
    assert_eq!(store.count().await, Some(1));
    assert_eq!(
        store.events(),
        ["happened: false", "Conflict in 1", "committed after 2"]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_after_it_was_looked_for_is_refused() -> Result<()> {
    let (store, log) = (BadNetwork::new([Fate::Late]), &Subspace::new(&("log",)));
    // Nothing that it reads could make the late commit fail, but for its operation key.
    let append = |mut tx: Tx| async move {
        tx.set_stamped_key(log.stamped(&(), 0), Bytes::from_static(b"entry"))
    };
    store.transact(append).await?;
    let outcomes = std::mem::take(&mut *store.late_outcomes.lock());
    assert_eq!(outcomes.len(), 1);
    assert!(
        outcomes[0]
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Conflict),
        "{outcomes:?}"
    );
    assert_eq!(store.begin().await?.range_all(log.range()).await?.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_look_itself_may_get_no_answer() -> Result<()> {
    // The attempt gets lost, so does the refusal, which did happen.
    let store = BadNetwork::new([Fate::LostRequest, Fate::LostAnswer, Fate::Committed]);
    assert_eq!(store.increment().await?, 1);
    assert_eq!(store.count().await, Some(1));
    assert_eq!(store.events()[0], "happened: false");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_mix_of_fates_counts_each_success_once() -> Result<()> {
    let kinds = [
        Fate::Committed,
        Fate::LostAnswer,
        Fate::LostRequest,
        Fate::Late,
        Fate::Unavailable,
    ];
    for mix in 0..kinds.len().pow(4) {
        let fates = (0..4).map(|digit| kinds[mix / kinds.len().pow(digit) % kinds.len()]);
        let store = BadNetwork::new(fates);
        for expected in 1..=3 {
            assert_eq!(store.increment().await?, expected, "mix {mix}");
        }
        assert_eq!(store.count().await, Some(3), "mix {mix}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_only_read_is_read_again_whatever_became_of_its_commit() -> Result<()> {
    for fate in [Fate::LostAnswer, Fate::LostRequest, Fate::Late] {
        let store = BadNetwork::new([fate, fate]);
        let read = store.transact(|mut tx| async move { tx.get(b"nothing").await });
        assert_eq!(read.await?, None, "{fate:?}");
        assert_eq!(store.events().last().unwrap(), "committed after 3");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_found_in_time_stays_unknown() {
    let store = BadNetwork::new([Fate::Stuck, Fate::Stuck, Fate::Stuck]);
    let started = Instant::now();
    let error = store.increment().await.unwrap_err();
    assert!(
        error.outcome_unknown() && !error.is_retryable(),
        "{error:?}"
    );
    assert_eq!(
        started.elapsed(),
        Duration::from_secs(20),
        "the timeout, and as much again to look"
    );
    assert_eq!(store.events(), ["failed: OutcomeUnknown"]);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_in_number() {
    let (store, runs) = (
        BadNetwork::new([Fate::Unavailable; 100]),
        &AtomicU32::new(0),
    );
    let options = TransactOptions::new().with_max_attempts(7);
    let attempt = |mut tx: Tx| async move {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.set(b"a", Bytes::new())
    };
    let error = store.transact_with(options, attempt).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(runs.load(Ordering::Relaxed), 7);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_in_time() {
    let store = BadNetwork::new(vec![Fate::Unavailable; 100_000]);
    let options = TransactOptions::new()
        .with_max_attempts(u32::MAX)
        .with_timeout(Duration::from_secs(3));
    let started = Instant::now();
    let error = store
        .transact_with(options, |mut tx| async move { tx.set(b"a", Bytes::new()) })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        (2..=3).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );

    let stuck = |_tx: Tx| std::future::pending::<Result<()>>();
    let started = Instant::now();
    assert_eq!(
        store
            .transact_with(options, stuck)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}

#[tokio::test]
async fn an_aborted_closure_runs_once_and_changes_nothing() {
    let (store, runs) = (MemoryStore::new(), &AtomicU32::new(0));
    let abort = |mut tx: Tx| async move {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.set(b"a", Bytes::new())?;
        Err::<(), _>(Error::abort("no money"))
    };
    let error = store.transact(abort).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert_eq!(error.into_cause().unwrap().to_string(), "no money");
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(store.begin().await.unwrap().get(b"a").await.unwrap(), None);
}

#[tokio::test]
async fn a_transaction_kept_beyond_the_closure_is_an_error() {
    let (store, kept) = (MemoryStore::new(), &Mutex::new(None));
    let keep = |mut tx: Tx| async move {
        tx.set(b"a", Bytes::new())?;
        *kept.lock() = Some(tx);
        Ok(())
    };
    assert_eq!(
        store.transact(keep).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(store.begin().await.unwrap().get(b"a").await.unwrap(), None);
}

#[tokio::test]
async fn operation_keys_are_written_only_where_needed_and_swept() -> Result<()> {
    let operations = |entries: Vec<crate::Entry>| {
        entries
            .iter()
            .filter(|e| e.key.starts_with(operation::PREFIX))
            .count()
    };
    let all = || Range::bounds::<&[u8]>(..);

    let certain = MemoryStore::new();
    certain
        .transact(|mut tx| async move { tx.set(b"a", Bytes::new()) })
        .await?;
    assert_eq!(
        operations(certain.begin().await?.range_all(all()).await?),
        0
    );

    let store = BadNetwork::new([]);
    store.increment().await?;
    store
        .transact(|mut tx| async move { tx.get(b"count").await })
        .await?;
    assert_eq!(
        operations(store.begin().await?.range_all(all()).await?),
        1,
        "a reader needs none"
    );
    store.sweep_operations(Duration::from_secs(3600)).await?;
    assert_eq!(
        operations(store.begin().await?.range_all(all()).await?),
        2,
        "young keys stay"
    );
    let end = operation::first_key_after(SystemTime::now() + Duration::from_secs(60));
    store
        .store
        .transact(|mut tx| {
            let end = end.clone();
            async move { tx.clear_range(operation::PREFIX, &end) }
        })
        .await?;
    assert_eq!(
        operations(store.begin().await?.range_all(all()).await?),
        0,
        "keys before the bound go"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn running_out_of_time_says_why_the_attempts_before_failed() {
    let store = MemoryStore::new();
    let options = TransactOptions::new().with_timeout(Duration::from_secs(1));
    let mut attempts = 0;
    let closure = |_: Tx| {
        attempts += 1;
        let first = attempts == 1;
        async move {
            if first {
                return Err(Error::new(ErrorKind::Unavailable, "the disk is full"));
            }
            std::future::pending::<Result<()>>().await
        }
    };
    let error = store.transact_with(options, closure).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "transaction had no answer before its deadline"
    );
    let why = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(why.as_deref(), Some("the disk is full"));
}
