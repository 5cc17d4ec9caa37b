//! R13–R15, R18: compare-and-set, versions and stamps, the clock.

use bytes::Bytes;

use super::{assert_kind, get, put, read, set};
use crate::error::{ErrorKind, Result};
use crate::key::Subspace;
use crate::range::Range;
use crate::store::StateStore;
use crate::transact::StateStoreExt;
use crate::transaction::TransactionExt;
use crate::version::{CommitVersion, Stamped, Versionstamp};

/// Checks R13 for the comparison.
pub async fn r13_compare_and_set_compares(store: &dyn StateStore) -> Result<()> {
    let (one, two) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
    let mut tx = store.begin().await?;
    assert!(
        !tx.compare_and_set(b"a", Some(b"1"), Some(two.clone()))
            .await?,
        "absent is not 1"
    );
    assert!(tx.compare_and_set(b"a", None, Some(one)).await?);
    assert!(
        !tx.compare_and_set(b"a", None, Some(two.clone())).await?,
        "present is not absent"
    );
    tx.commit().await?;
    let mut tx = store.begin().await?;
    assert!(tx.compare_and_set(b"a", Some(b"1"), Some(two)).await?);
    tx.commit().await?;
    assert_eq!(read(store, "a").await?.as_deref(), Some("2"));
    let mut tx = store.begin().await?;
    assert!(tx.compare_and_set(b"a", Some(b"2"), None).await?);
    tx.commit().await?;
    assert_eq!(read(store, "a").await?, None);
    Ok(())
}

/// Checks R13 for races.
pub async fn r13_one_of_racing_compare_and_sets_wins(store: &dyn StateStore) -> Result<()> {
    let race = (0..8).map(|n| async move {
        let claim = |mut tx: crate::Tx| async move {
            let claimed = tx
                .compare_and_set(b"owner", None, Some(Bytes::from(vec![n])))
                .await?;
            tokio::task::yield_now().await;
            Ok(claimed)
        };
        store.transact(claim).await
    });
    let won = futures::future::try_join_all(race).await?;
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    Ok(())
}

/// Checks R14.
pub async fn r14_commit_versions_grow(store: &dyn StateStore) -> Result<()> {
    let mut last = CommitVersion::default();
    for n in 0..20 {
        let mut tx = store.begin().await?;
        get(&mut *tx, "n").await?;
        set(&mut *tx, "n", &n.to_string())?;
        let version = tx.commit().await?;
        assert!(version > last, "{version} after {last}");
        last = version;
    }
    let mut tx = store.begin().await?;
    get(&mut *tx, "n").await?;
    assert!(
        tx.commit().await? >= last,
        "a reader has seen the last commit"
    );
    Ok(())
}

/// Checks R15 for keys.
pub async fn r15_stamped_keys_are_in_commit_order(store: &dyn StateStore) -> Result<()> {
    let log = Subspace::new(&("log",));
    let mut versions = Vec::new();
    for n in 0..10u8 {
        let mut tx = store.begin().await?;
        // The writer's numbers, not the order of the calls, order stamps of one commit.
        tx.set_stamped_key(log.stamped(&(), 1), Bytes::from(vec![n, 1]))?;
        tx.set_stamped_key(log.stamped(&(), 0), Bytes::from(vec![n, 0]))?;
        versions.push(tx.commit().await?);
    }
    let entries = store.begin().await?.range_all(log.range()).await?;
    let written: Vec<_> = entries
        .iter()
        .map(|entry| (entry.value[0], entry.value[1]))
        .collect();
    let expected: Vec<_> = (0..10).flat_map(|n| [(n, 0), (n, 1)]).collect();
    assert_eq!(written, expected);
    for (index, entry) in entries.iter().enumerate() {
        let (stamp,) = log.unpack::<(Versionstamp,)>(&entry.key)?;
        assert_eq!(
            (stamp.version(), stamp.user()),
            (versions[index / 2], (index % 2) as u16)
        );
    }
    Ok(())
}

/// Checks R15 for values.
pub async fn r15_stamped_values_carry_the_commit(store: &dyn StateStore) -> Result<()> {
    let mut tx = store.begin().await?;
    let value = Stamped::new(&b"<"[..], 7, &b">"[..]);
    tx.set_stamped_value(b"head", value.clone())?;
    let version = tx.commit().await?;
    let stored = store.begin().await?.get(b"head").await?;
    assert_eq!(stored, Some(value.resolve(version)));
    Ok(())
}

/// Checks R15 for reads in the same transaction, and for clears after a stamped key.
pub async fn r15_stamps_wait_for_the_commit(store: &dyn StateStore) -> Result<()> {
    put(store, &[("head", "0")]).await?;
    let log = Subspace::new(&("log",));
    let mut tx = store.begin().await?;
    tx.set_stamped_key(log.stamped(&(), 0), Bytes::from_static(b"cleared"))?;
    tx.clear_range(log.range().begin(), log.range().end())?;
    tx.set_stamped_key(log.stamped(&(), 1), Bytes::from_static(b"kept"))?;
    assert!(
        tx.range(log.range()).await?.entries.is_empty(),
        "a stamped key is not there yet"
    );
    tx.set_stamped_value(b"head", Stamped::new(Bytes::new(), 0, Bytes::new()))?;
    assert_kind(
        tx.get(b"head").await,
        ErrorKind::Invalid,
        "a value without its stamp",
    );
    assert_kind(
        tx.range(Range::prefix(b"head")).await,
        ErrorKind::Invalid,
        "a value without its stamp",
    );
    tx.commit().await?;
    let entries = store.begin().await?.range_all(log.range()).await?;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].value, "kept");
    Ok(())
}

/// Checks R18.
pub async fn r18_now_does_not_run_backwards(store: &dyn StateStore) -> Result<()> {
    let mut last = store.now().await?;
    for _ in 0..100 {
        let now = store.now().await?;
        assert!(now >= last, "{now:?} after {last:?}");
        last = now;
    }
    Ok(())
}
