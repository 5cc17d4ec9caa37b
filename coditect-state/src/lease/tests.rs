use bytes::Bytes;
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::election::Election;
use crate::error::ErrorKind;
use crate::memory::MemoryStore;

const TTL: Duration = Duration::from_secs(6);

fn leases(store: &Arc<MemoryStore>) -> Leases {
    Leases::new(store.clone(), Subspace::new(&("leases",)))
}

fn election(store: &Arc<MemoryStore>, candidate: &str) -> Election {
    Election::new(
        store.clone(),
        Subspace::new(&("leases",)),
        "leader",
        candidate,
    )
    .with_ttl(TTL)
}

#[tokio::test(start_paused = true)]
async fn one_holds_and_the_next_waits_for_the_expiry() -> Result<()> {
    let leases = leases(&Arc::new(MemoryStore::new()));
    let first = leases
        .try_acquire("a", "one", TTL)
        .await?
        .expect("it is free");
    assert!(leases.try_acquire("a", "two", TTL).await?.is_none());
    assert!(
        leases.try_acquire("a", "one", TTL).await?.is_none(),
        "a name is no right"
    );
    assert!(
        leases.try_acquire("b", "two", TTL).await?.is_some(),
        "other names are free"
    );

    advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(leases.holder("a").await?.expect("still held").holder, "one");
    assert!(leases.try_acquire("a", "two", TTL).await?.is_none());
    advance(Duration::from_millis(1)).await;
    assert_eq!(leases.holder("a").await?, None);
    let second = leases
        .try_acquire("a", "two", TTL)
        .await?
        .expect("it has expired");
    assert!(second.token() > first.token());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn renewal_extends_and_comes_too_late_after_the_expiry() -> Result<()> {
    let leases = leases(&Arc::new(MemoryStore::new()));
    let lease = leases
        .try_acquire("a", "one", TTL)
        .await?
        .expect("it is free");
    for _ in 0..5 {
        advance(TTL / 2).await;
        lease.renew().await?;
    }
    assert!(leases.try_acquire("a", "two", TTL).await?.is_none());
    advance(TTL).await;
    assert_eq!(
        lease.renew().await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stale_holder_can_neither_write_renew_nor_release() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let leases = leases(&store);
    let stale = &leases
        .try_acquire("a", "one", TTL)
        .await?
        .expect("it is free");
    let write = |mut tx: Tx| async move {
        stale.guard(&mut *tx).await?;
        tx.set(b"data", Bytes::from_static(b"1"))
    };
    store.transact(write).await?;
    advance(TTL).await;
    let current = leases.acquire("a", "two", TTL).await?;
    assert_eq!(
        store.transact(write).await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    assert_eq!(
        stale.renew().await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    assert_eq!(
        stale.give_back().await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    current.renew().await
}

#[tokio::test(start_paused = true)]
async fn a_takeover_between_guard_and_commit_is_a_conflict_and_a_renewal_is_not() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let leases = leases(&store);
    let lease = leases
        .try_acquire("a", "one", TTL)
        .await?
        .expect("it is free");
    let mut tx = store.begin().await?;
    lease.guard(&mut *tx).await?;
    tx.set(b"data", Bytes::from_static(b"1"))?;
    lease.renew().await?;
    tx.commit().await?;

    let mut tx = store.begin().await?;
    lease.guard(&mut *tx).await?;
    tx.set(b"data", Bytes::from_static(b"2"))?;
    advance(TTL).await;
    let _taken = leases.acquire("a", "two", TTL).await?;
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tokens_grow_over_releases_and_over_a_store_that_restarts_empty() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let mut last = FencingToken::new(0);
    for _ in 0..10 {
        let lease = leases(&store)
            .try_acquire("a", "one", TTL)
            .await?
            .expect("it was released");
        assert!(lease.token() > last);
        last = lease.token();
        lease.release().await?;
    }
    // The new store's wall clock is past the few microseconds that ten tokens were ahead.
    tokio::task::yield_now().await;
    let mut lease = leases(&Arc::new(MemoryStore::new()))
        .try_acquire("a", "one", TTL)
        .await?;
    while lease.as_ref().is_some_and(|lease| lease.token() <= last) {
        lease = leases(&Arc::new(MemoryStore::new()))
            .try_acquire("a", "one", TTL)
            .await?;
    }
    assert!(lease.expect("a new store is free").token() > last);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_release_wakes_the_one_who_waits() -> Result<()> {
    let leases = leases(&Arc::new(MemoryStore::new()));
    let lease = leases
        .try_acquire("a", "one", TTL)
        .await?
        .expect("it is free");
    let started = Instant::now();
    let (released, acquired) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lease.release().await
        },
        leases.acquire("a", "two", TTL),
    );
    released?;
    assert_eq!(acquired?.holder(), "two");
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_kept_lease_outlives_its_length_and_is_released_at_once() -> Result<()> {
    let leases = leases(&Arc::new(MemoryStore::new()));
    let kept = leases.acquire("a", "one", TTL).await?.keep();
    let lost = kept.lost();
    assert!(
        timeout(TTL * 20, leases.acquire("a", "two", TTL))
            .await
            .is_err()
    );
    assert!(!lost.is_cancelled());
    kept.release().await?;
    assert!(!lost.is_cancelled(), "a release is no loss");
    assert!(leases.try_acquire("a", "two", TTL).await?.is_some());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_kept_lease_runs_out() -> Result<()> {
    let leases = leases(&Arc::new(MemoryStore::new()));
    drop(leases.acquire("a", "one", TTL).await?.keep());
    let started = Instant::now();
    let _next = leases.acquire("a", "two", TTL).await?;
    assert!(started.elapsed() <= TTL && !started.elapsed().is_zero());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn losing_a_kept_lease_is_told() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let leases = leases(&store);
    let kept = leases.acquire("a", "one", TTL).await?.keep();
    // Somebody removes the lease by force.
    let all = &leases.space.range();
    store
        .transact(|mut tx| async move { tx.clear_range(all.begin(), all.end()) })
        .await?;
    timeout(TTL, kept.lost().cancelled())
        .await
        .expect("the loss is seen by the next renewal");
    assert_eq!(
        kept.release().await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_many_candidates_one_leads_and_all_lead_in_turn() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let candidates = (0..5).map(|n| {
        let election = election(&store, &format!("candidate {n}"));
        async move {
            let leadership = election.campaign().await?;
            let leader = election.leader().await?.expect("this candidate leads");
            assert_eq!(
                (leader.holder, leader.token),
                (format!("candidate {n}"), leadership.token())
            );
            let token = leadership.token();
            leadership.release().await?;
            Ok::<_, Error>(token)
        }
    });
    let mut tokens = futures::future::try_join_all(candidates).await?;
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 5);
    assert_eq!(election(&store, "nobody").leader().await?, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_replaced_after_its_time() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let dead = election(&store, "dead").campaign().await?;
    let old = dead.token();
    drop(dead);
    let started = Instant::now();
    let next = election(&store, "next").campaign().await?;
    assert!(next.token() > old);
    assert!(started.elapsed() <= TTL);
    next.release().await
}
