//! R5–R9: who conflicts with whom.

use super::{assert_conflict, get, put, read, set};
use crate::error::{ErrorKind, Result};
use crate::range::Range;
use crate::store::StateStore;

/// Checks R5.
pub async fn r5_lost_update_conflicts(store: &dyn StateStore) -> Result<()> {
    put(store, &[("n", "0")]).await?;
    let (mut one, mut two) = (store.begin().await?, store.begin().await?);
    get(&mut *one, "n").await?;
    get(&mut *two, "n").await?;
    set(&mut *one, "n", "1")?;
    set(&mut *two, "n", "2")?;
    one.commit().await?;
    assert_conflict(two.commit().await, "the second increment");
    assert_eq!(read(store, "n").await?.as_deref(), Some("1"));
    Ok(())
}

/// Checks R5 for all writes of the one that fails.
pub async fn r5_failed_commit_changes_nothing(store: &dyn StateStore) -> Result<()> {
    put(store, &[("n", "0"), ("y", "0")]).await?;
    let mut tx = store.begin().await?;
    get(&mut *tx, "n").await?;
    set(&mut *tx, "x", "1")?;
    tx.clear_range(b"y", b"z")?;
    put(store, &[("n", "1")]).await?;
    assert_conflict(
        tx.commit().await,
        "a commit after a change of what was read",
    );
    assert_eq!(read(store, "x").await?, None);
    assert_eq!(read(store, "y").await?.as_deref(), Some("0"));
    Ok(())
}

/// Checks R6.
pub async fn r6_write_skew_conflicts(store: &dyn StateStore) -> Result<()> {
    put(store, &[("alice", "on call"), ("bob", "on call")]).await?;
    let (mut one, mut two) = (store.begin().await?, store.begin().await?);
    for tx in [&mut one, &mut two] {
        assert!(get(&mut **tx, "alice").await?.is_some() && get(&mut **tx, "bob").await?.is_some());
    }
    one.clear(b"alice")?;
    two.clear(b"bob")?;
    one.commit().await?;
    assert_conflict(two.commit().await, "the last one on call leaving");
    assert_eq!(read(store, "bob").await?.as_deref(), Some("on call"));
    Ok(())
}

/// Checks R6 for keys that were not there.
pub async fn r6_absence_that_was_read_is_guarded(store: &dyn StateStore) -> Result<()> {
    let (mut one, mut two) = (store.begin().await?, store.begin().await?);
    for (tx, who) in [(&mut one, "one"), (&mut two, "two")] {
        assert_eq!(get(&mut **tx, "name").await?, None);
        set(&mut **tx, "name", who)?;
    }
    two.commit().await?;
    assert_conflict(one.commit().await, "a name taken twice");
    // And the other way round: what was there is gone.
    let mut tx = store.begin().await?;
    assert!(get(&mut *tx, "name").await?.is_some());
    set(&mut *tx, "other", "1")?;
    let mut clear = store.begin().await?;
    clear.clear(b"name")?;
    clear.commit().await?;
    assert_conflict(tx.commit().await, "a key that is gone");
    Ok(())
}

/// Checks R7 for keys that appear.
pub async fn r7_phantom_conflicts(store: &dyn StateStore) -> Result<()> {
    put(store, &[("room/1", ""), ("room/2", "")]).await?;
    for reverse in [false, true] {
        let range = Range::prefix(b"room/");
        let range = if reverse { range.reversed() } else { range };
        let mut tx = store.begin().await?;
        let before = tx.range(range).await?.entries.len();
        set(&mut *tx, "count", &before.to_string())?;
        put(store, &[(if reverse { "room/0" } else { "room/3" }, "")]).await?;
        assert_conflict(tx.commit().await, "a key that appeared in a range");
    }
    // An empty range is read, too.
    let mut tx = store.begin().await?;
    assert!(tx.range(Range::prefix(b"empty/")).await?.entries.is_empty());
    set(&mut *tx, "first", "")?;
    put(store, &[("empty/1", "")]).await?;
    assert_conflict(tx.commit().await, "a key that appeared in an empty range");
    Ok(())
}

/// Checks R7 for keys that vanish.
pub async fn r7_key_cleared_in_range_conflicts(store: &dyn StateStore) -> Result<()> {
    put(store, &[("room/1", ""), ("room/2", "")]).await?;
    let mut tx = store.begin().await?;
    tx.range(Range::prefix(b"room/")).await?;
    set(&mut *tx, "count", "2")?;
    let mut clear = store.begin().await?;
    clear.clear_range(b"room/2", b"room/9")?;
    clear.commit().await?;
    assert_conflict(tx.commit().await, "a key that vanished from a range");
    Ok(())
}

/// Checks R7 for what lies beyond the page.
pub async fn r7_only_what_the_page_covered_conflicts(store: &dyn StateStore) -> Result<()> {
    put(store, &[("q/1", ""), ("q/5", ""), ("q/9", "")]).await?;
    let mut tx = store.begin().await?;
    tx.range(Range::prefix(b"q/").with_limit(1)).await?;
    set(&mut *tx, "taken", "1")?;
    put(store, &[("q/3", ""), ("q/9", "new")]).await?;
    tx.commit().await?;

    let mut tx = store.begin().await?;
    tx.range(Range::prefix(b"q/").with_limit(1).reversed())
        .await?;
    set(&mut *tx, "taken", "9")?;
    put(store, &[("q/3", "new")]).await?;
    tx.commit().await?;

    let mut tx = store.begin().await?;
    tx.range(Range::prefix(b"q/").with_limit(1)).await?;
    set(&mut *tx, "taken", "1")?;
    put(store, &[("q/0", "")]).await?;
    assert_conflict(
        tx.commit().await,
        "a key that appeared before the page's last",
    );
    Ok(())
}

/// Checks R8 for conflicts.
pub async fn r8_snapshot_reads_do_not_conflict(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "1"), ("r/1", "1")]).await?;
    let mut tx = store.begin().await?;
    tx.get_snapshot(b"a").await?;
    tx.range(Range::prefix(b"r/").snapshot()).await?;
    set(&mut *tx, "out", "1")?;
    put(store, &[("a", "2"), ("r/2", "2")]).await?;
    tx.commit().await?;
    assert_eq!(read(store, "out").await?.as_deref(), Some("1"));
    Ok(())
}

/// Checks R8 for what is seen.
pub async fn r8_snapshot_reads_see_own_writes_and_one_state(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "1"), ("b", "1")]).await?;
    let mut tx = store.begin().await?;
    assert_eq!(tx.get_snapshot(b"a").await?.as_deref(), Some(&b"1"[..]));
    put(store, &[("b", "2")]).await?;
    // A store may refuse to read what is gone, but must not mix states.
    match tx.get_snapshot(b"b").await {
        Ok(value) => assert_eq!(value.as_deref(), Some(&b"1"[..])),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            tx = store.begin().await?;
        }
    }
    set(&mut *tx, "b", "own")?;
    assert_eq!(tx.get_snapshot(b"b").await?.as_deref(), Some(&b"own"[..]));
    let page = tx.range(Range::new("a", "c").snapshot()).await?;
    assert_eq!(page.entries[1].value, "own");
    Ok(())
}

/// Checks R9 for writers.
pub async fn r9_blind_writes_do_not_conflict(store: &dyn StateStore) -> Result<()> {
    let (mut one, mut two) = (store.begin().await?, store.begin().await?);
    set(&mut *one, "a", "1")?;
    one.clear_range(b"b", b"c")?;
    set(&mut *two, "a", "2")?;
    set(&mut *two, "b", "2")?;
    two.commit().await?;
    one.commit().await?;
    assert_eq!(read(store, "a").await?.as_deref(), Some("1"));
    assert_eq!(read(store, "b").await?, None);
    Ok(())
}

/// Checks R9 for readers.
pub async fn r9_read_only_transactions_do_not_conflict(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "1")]).await?;
    let mut tx = store.begin().await?;
    get(&mut *tx, "a").await?;
    tx.range(Range::new("a", "z")).await?;
    put(store, &[("a", "2"), ("b", "2")]).await?;
    tx.commit().await?;
    Ok(())
}
