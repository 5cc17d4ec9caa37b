//! R1–R4, R10, R11, R17: what reads see.

use bytes::Bytes;

use super::{assert_kind, get, put, read, set, text};
use crate::error::{ErrorKind, Result};
use crate::range::Range;
use crate::store::StateStore;
use crate::transaction::{Transaction, TransactionExt};

async fn keys(tx: &mut dyn Transaction, range: Range) -> Result<Vec<String>> {
    Ok(tx
        .range_all(range)
        .await?
        .iter()
        .map(|entry| text(&entry.key))
        .collect())
}

/// Checks R1.
pub async fn r1_unset_is_none_and_committed_is_read(store: &dyn StateStore) -> Result<()> {
    assert_eq!(read(store, "a").await?, None);
    put(store, &[("a", "1")]).await?;
    assert_eq!(read(store, "a").await?.as_deref(), Some("1"));
    let mut tx = store.begin().await?;
    tx.clear(b"a")?;
    tx.commit().await?;
    assert_eq!(read(store, "a").await?, None);
    Ok(())
}

/// Checks R2 for single keys.
pub async fn r2_own_writes_are_read_back(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "old"), ("b", "old"), ("c", "old")]).await?;
    let mut tx = store.begin().await?;
    set(&mut *tx, "a", "new")?;
    tx.clear(b"b")?;
    tx.clear_range(b"c", b"d")?;
    set(&mut *tx, "c1", "new")?;
    assert_eq!(get(&mut *tx, "a").await?.as_deref(), Some("new"));
    assert_eq!(get(&mut *tx, "b").await?, None);
    assert_eq!(get(&mut *tx, "c").await?, None);
    assert_eq!(get(&mut *tx, "c1").await?.as_deref(), Some("new"));
    assert_eq!(
        read(store, "a").await?.as_deref(),
        Some("old"),
        "uncommitted writes stay inside"
    );
    Ok(())
}

/// Checks R2 for ranges.
pub async fn r2_own_writes_are_in_ranges(store: &dyn StateStore) -> Result<()> {
    put(
        store,
        &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("f", "1")],
    )
    .await?;
    let mut tx = store.begin().await?;
    tx.clear(b"a")?;
    tx.clear_range(b"c", b"f")?;
    for key in ["b", "d5", "e", "g"] {
        set(&mut *tx, key, "2")?;
    }
    let all = Range::new("a", "z");
    assert_eq!(
        keys(&mut *tx, all.clone()).await?,
        ["b", "d5", "e", "f", "g"]
    );
    assert_eq!(
        keys(&mut *tx, all.clone().reversed()).await?,
        ["g", "f", "e", "d5", "b"]
    );
    assert_eq!(
        keys(&mut *tx, all.clone().with_limit(2)).await?,
        ["b", "d5", "e", "f", "g"]
    );
    let first = tx.range(all.with_limit(1)).await?;
    assert_eq!(
        first.entries[0].value, "2",
        "the own value hides the stored one"
    );
    Ok(())
}

/// Checks R3.
pub async fn r3_dropped_transaction_changes_nothing(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "1"), ("b", "1")]).await?;
    let mut tx = store.begin().await?;
    set(&mut *tx, "a", "2")?;
    tx.clear(b"b")?;
    drop(tx);
    assert_eq!(read(store, "a").await?.as_deref(), Some("1"));
    assert_eq!(read(store, "b").await?.as_deref(), Some("1"));
    Ok(())
}

/// Checks R4.
pub async fn r4_reads_see_one_state(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "1"), ("b", "1"), ("c", "1")]).await?;
    let mut tx = store.begin().await?;
    assert_eq!(get(&mut *tx, "a").await?.as_deref(), Some("1"));
    for round in ["2", "3"] {
        put(store, &[("a", round), ("b", round), ("d", round)]).await?;
        let mut other = store.begin().await?;
        other.clear(b"c")?;
        other.commit().await?;
        // A store may refuse to read what is gone, but must not mix states.
        match get(&mut *tx, "b").await {
            Ok(value) => assert_eq!(value.as_deref(), Some("1")),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                return Ok(());
            }
        }
        assert_eq!(get(&mut *tx, "a").await?.as_deref(), Some("1"));
        assert_eq!(keys(&mut *tx, Range::new("a", "z")).await?, ["a", "b", "c"]);
    }
    Ok(())
}

/// Checks R10 for the order.
pub async fn r10_ranges_are_ordered_both_ways(store: &dyn StateStore) -> Result<()> {
    put(
        store,
        &[
            ("b", "2"),
            ("a\u{1}", "1"),
            ("a", "0"),
            ("c", "3"),
            ("d", "4"),
        ],
    )
    .await?;
    let mut tx = store.begin().await?;
    assert_eq!(
        keys(&mut *tx, Range::new("a", "d")).await?,
        ["a", "a\u{1}", "b", "c"]
    );
    assert_eq!(
        keys(&mut *tx, Range::new("a", "d").reversed()).await?,
        ["c", "b", "a\u{1}", "a"]
    );
    assert_eq!(
        keys(&mut *tx, Range::bounds("b"..="d")).await?,
        ["b", "c", "d"]
    );
    assert_eq!(keys(&mut *tx, Range::prefix(b"a")).await?, ["a", "a\u{1}"]);
    assert!(
        keys(&mut *tx, Range::new("d", "a")).await?.is_empty(),
        "an inverted range is empty"
    );
    assert!(keys(&mut *tx, Range::new("a", "a")).await?.is_empty());
    Ok(())
}

/// Checks R10 for pages.
pub async fn r10_pages_neither_repeat_nor_leave_out(store: &dyn StateStore) -> Result<()> {
    let names: Vec<String> = (0..25).map(|n| format!("k{n:02}")).collect();
    let mut tx = store.begin().await?;
    for name in &names {
        set(&mut *tx, name, "")?;
    }
    tx.commit().await?;
    for limit in [1, 7, 24, 25, 26] {
        for reverse in [false, true] {
            let mut range = Range::prefix(b"k").with_limit(limit);
            let mut expected = names.clone();
            if reverse {
                range = range.reversed();
                expected.reverse();
            }
            let mut tx = store.begin().await?;
            let mut found = Vec::new();
            let mut next = Some(range);
            while let Some(range) = next {
                let page = tx.range(range).await?;
                assert!(
                    page.entries.len() <= limit,
                    "a page of {} over {limit}",
                    page.entries.len()
                );
                found.extend(page.entries.iter().map(|entry| text(&entry.key)));
                next = page.next;
            }
            assert_eq!(found, expected, "limit {limit}, reverse {reverse}");
        }
    }
    Ok(())
}

/// Checks R11 for the bounds.
pub async fn r11_clear_range_keeps_its_end(store: &dyn StateStore) -> Result<()> {
    put(
        store,
        &[("a", ""), ("b", ""), ("b1", ""), ("c", ""), ("d", "")],
    )
    .await?;
    let mut tx = store.begin().await?;
    tx.clear_range(b"b", b"c")?;
    tx.clear_range(b"d", b"a")?;
    tx.commit().await?;
    assert_eq!(
        keys(&mut *store.begin().await?, Range::new("a", "z")).await?,
        ["a", "c", "d"]
    );
    Ok(())
}

/// Checks R11 for the order of writes.
pub async fn r11_later_writes_win(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "0"), ("b", "0")]).await?;
    let mut tx = store.begin().await?;
    set(&mut *tx, "a", "1")?;
    tx.clear_range(b"a", b"b")?;
    tx.clear_range(b"b", b"c")?;
    set(&mut *tx, "b", "1")?;
    set(&mut *tx, "c", "1")?;
    tx.clear(b"c")?;
    tx.clear(b"d")?;
    set(&mut *tx, "d", "1")?;
    set(&mut *tx, "d", "2")?;
    tx.commit().await?;
    assert_eq!(read(store, "a").await?, None);
    assert_eq!(read(store, "b").await?.as_deref(), Some("1"));
    assert_eq!(read(store, "c").await?, None);
    assert_eq!(read(store, "d").await?.as_deref(), Some("2"));
    Ok(())
}

/// Checks R17 for what is allowed.
pub async fn r17_any_bytes_are_keys_and_values(store: &dyn StateStore) -> Result<()> {
    let odd: [&[u8]; 6] = [
        b"",
        b"\0",
        b"\0\xff",
        b"a\xff\xff",
        b"\x80\x00\x80",
        b"\xfe\xff",
    ];
    let mut tx = store.begin().await?;
    for key in odd {
        tx.set(key, Bytes::copy_from_slice(key))?;
    }
    tx.commit().await?;
    let mut tx = store.begin().await?;
    for key in odd {
        assert_eq!(tx.get(key).await?.as_deref(), Some(key));
    }
    let mut sorted = odd;
    sorted.sort();
    let found = tx.range_all(Range::bounds::<&[u8]>(..)).await?;
    assert!(found.iter().map(|entry| &entry.key[..]).eq(sorted));
    Ok(())
}

/// Checks R17 for what is refused.
pub async fn r17_system_keys_are_refused(store: &dyn StateStore) -> Result<()> {
    let mut tx = store.begin().await?;
    assert_kind(
        tx.set(b"\xff", Bytes::new()),
        ErrorKind::Invalid,
        "a key of the store itself",
    );
    assert_kind(
        tx.clear(b"\xff/x"),
        ErrorKind::Invalid,
        "a key of the store itself",
    );
    Ok(())
}
