//! The guard of a state store: few wait, the others are told, and the end of an outage is found out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_core::guard::GuardedStore;
use coditect_core::resilience::BreakerState;
use coditect_core::state::{ErrorKind, MemoryStore, StateStore, StateStoreExt, TransactionExt};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::shaky::{Mode, Shaky};
use crate::{OPEN, narrow};

fn guarded() -> (Shaky<MemoryStore>, GuardedStore) {
    let shaky = Shaky::new(MemoryStore::new());
    let store = GuardedStore::new(Arc::new(shaky.clone()), narrow());
    (shaky, store)
}

#[tokio::test(start_paused = true)]
async fn of_a_store_that_hangs_few_wait_and_the_rest_are_told() {
    let (shaky, store) = guarded();
    shaky.line.set(Mode::Hangs);
    let begun = Instant::now();
    let asked = join_all((0..100).map(|_| async {
        let error = store.now().await.unwrap_err();
        (error, begun.elapsed())
    }));
    let told = asked.await;
    assert_eq!(shaky.line.calls(), 8);
    let mut texts = [0; 3];
    for (error, after) in told {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        let (which, when) = if text == "8 calls to the state store are under way and 16 wait" {
            (0, Duration::ZERO)
        } else if text == "the state store gave no answer within 8s" {
            (1, Duration::from_secs(8))
        } else {
            assert!(
                text.starts_with("the state store keeps failing and is left alone"),
                "{text}"
            );
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(
                source,
                "a call to the state store failed: the state store gave no answer within 8s"
            );
            (2, Duration::from_secs(8))
        };
        texts[which] += 1;
        assert_eq!(after, when, "{text}");
    }
    assert_eq!(texts, [76, 8, 16]);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_gone_it_is_hardly_called_and_soon_after_it_is_used_again() {
    let (shaky, store) = guarded();
    shaky.line.set(Mode::Gone);
    let end = Instant::now() + Duration::from_secs(30);
    let mut asked = 0;
    while Instant::now() < end {
        store.now().await.unwrap_err();
        asked += 1;
        sleep(Duration::from_millis(1)).await;
    }
    // Five to find out, then one each time that it is tried: twice to twenty times a second.
    let calls = shaky.line.calls();
    assert!(
        calls < 5 + 30 * 20 && calls * 40 < asked,
        "{calls} of {asked}"
    );
    shaky.line.set(Mode::Well);
    let healed = Instant::now();
    while store.now().await.is_err() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(healed.elapsed() <= OPEN, "{:?}", healed.elapsed());
    assert_eq!(store.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_waits_for_the_end_of_an_outage_and_is_done_once() {
    let (shaky, store) = guarded();
    let add = || {
        store.transact(|mut tx| async move {
            let count = tx.get_json::<u32>(b"count").await?.unwrap_or(0) + 1;
            tx.set_json(b"count", &count)?;
            Ok(count)
        })
    };
    shaky.line.set(Mode::Gone);
    let heals = async {
        sleep(Duration::from_secs(3)).await;
        shaky.line.set(Mode::Well);
    };
    let (added, ()) = tokio::join!(join_all((0..20).map(|_| add())), heals);
    let mut counts: Vec<_> = added.into_iter().map(Result::unwrap).collect();
    counts.sort_unstable();
    assert_eq!(counts, Vec::from_iter(1..=20));
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_looked_for() {
    let (shaky, store) = guarded();
    let mut transaction = store.begin().await.unwrap();
    transaction
        .set(b"key", Bytes::from_static(b"value"))
        .unwrap();
    shaky.line.set(Mode::Hangs);
    let begun = Instant::now();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(begun.elapsed(), Duration::from_secs(8));
    shaky.line.set(Mode::Well);
    let kept = store.transact(|mut tx| async move { tx.get(b"key").await });
    assert_eq!(kept.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn conflicts_are_answers() {
    let (_, store) = guarded();
    for _ in 0..100 {
        let mut stale = store.begin().await.unwrap();
        stale.get(b"key").await.unwrap();
        stale.set(b"key", Bytes::new()).unwrap();
        let write = store.transact(|mut tx| async move { tx.set(b"key", Bytes::new()) });
        write.await.unwrap();
        let error = stale.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(store.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn those_with_slots_of_their_own_do_not_keep_others_waiting() {
    let (shaky, store) = guarded();
    let agents = store.with_own_slots();
    shaky.line.set(Mode::Hangs);
    let crowd = join_all((0..24).map(|_| agents.now()));
    let other = async {
        tokio::task::yield_now().await;
        shaky.line.set(Mode::Well);
        store.now().await
    };
    // Were its slots the same, it would stand behind the crowd, and be refused: sixteen wait there already.
    let (crowd, other) = tokio::join!(crowd, other);
    assert!(other.is_ok() && crowd.iter().all(Result::is_ok));
    agents.breaker().force_open();
    assert_eq!(store.breaker().state(), BreakerState::ForcedOpen);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_makes_room_for_another() {
    let (shaky, store) = guarded();
    shaky.line.set(Mode::Gone);
    while store.breaker().state() == BreakerState::Closed {
        store.now().await.unwrap_err();
    }
    shaky.line.set(Mode::Hangs);
    for _ in 0..20 {
        sleep(OPEN).await;
        let probe = tokio::time::timeout(Duration::from_secs(1), store.now());
        assert!(probe.await.is_err(), "it is let through, and hangs");
    }
    shaky.line.set(Mode::Well);
    store.now().await.unwrap();
    assert_eq!(store.breaker().state(), BreakerState::Closed);
}
