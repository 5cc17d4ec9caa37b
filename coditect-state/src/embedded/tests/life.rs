//! From opening to closing: who may open, what is kept, what is given back.

use super::*;
use crate::conformance::history_is_serial;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn seeded_histories_are_serial() -> Result<()> {
    for seed in 1_000..1_030 {
        history_is_serial(&Fixture::new().await.store, seed).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_that_wait_share_a_commit() -> Result<()> {
    let fixture = Fixture::new().await;
    let writes = (0..2_000).map(|n| {
        let store = fixture.store.clone();
        async move {
            let mut tx = store.begin().await?;
            tx.set(format!("k{n:04}").as_bytes(), Bytes::new())?;
            tx.commit().await
        }
    });
    let versions = futures::future::try_join_all(writes).await?;
    let batches: std::collections::BTreeSet<_> = versions.iter().map(|it| it.batch()).collect();
    assert!(batches.len() < 1_000, "{} commits for 2,000", batches.len());
    let distinct: std::collections::BTreeSet<_> = versions.iter().collect();
    assert_eq!(distinct.len(), 2_000);
    assert_eq!(all(&fixture.store).await?.len(), 2_000);
    Ok(())
}

#[tokio::test]
async fn what_was_committed_and_its_versions_outlive_the_store() -> Result<()> {
    let fixture = Fixture::new().await;
    let mut last = crate::CommitVersion::default();
    let mut now = SystemTime::UNIX_EPOCH;
    fixture.store.close().await?;
    for n in 0..5 {
        let store = EmbeddedStore::open(fixture.path()).await?;
        assert_eq!(all(&store).await?.len(), n);
        let mut tx = store.begin().await?;
        tx.set(format!("k{n}").as_bytes(), Bytes::new())?;
        let version = tx.commit().await?;
        assert!(version > last);
        last = version;
        assert!(store.now().await? >= now);
        now = store.now().await?;
        // Half of the time it is just dropped.
        if n % 2 == 0 {
            store.close().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_second_store_over_the_same_file_is_refused() -> Result<()> {
    let fixture = Fixture::new().await;
    let error = EmbeddedStore::open(fixture.path())
        .await
        .expect_err("it is open");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert!(cause.is_some_and(|cause| cause.contains("is open in another process")));
    put(&fixture.store, "a", "1").await
}

#[tokio::test]
async fn nothing_but_the_store_lies_beside_it() {
    let fixture = Fixture::new().await;
    put(&fixture.store, "a", "1").await.unwrap();
    let beside = std::fs::read_dir(fixture.directory.path()).unwrap();
    let names: Vec<_> = beside.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store"]);
}

#[tokio::test]
async fn places_where_no_file_can_be_are_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing").join("store");
    for place in [missing, directory.path().to_owned()] {
        let error = EmbeddedStore::open(&place)
            .await
            .expect_err("there is no place");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
}

#[tokio::test]
async fn a_closed_store_says_so() -> Result<()> {
    let fixture = Fixture::new().await;
    put(&fixture.store, "a", "1").await?;
    let mut early = fixture.store.begin().await?;
    early.set(b"b", Bytes::new())?;
    let mut watch = fixture.store.watch(b"a").await?;
    fixture.store.close().await?;
    fixture.store.close().await?;
    for error in [
        early.commit().await.expect_err("it is closed"),
        fixture.store.begin().await.expect_err("it is closed"),
        fixture.store.watch(b"a").await.expect_err("it is closed"),
        fixture.store.check().await.expect_err("it is closed"),
        watch.changed().await.expect_err("it is closed"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    EmbeddedStore::open(fixture.path()).await?.close().await
}

#[tokio::test]
async fn an_idle_reader_does_not_hold_history_for_ever() -> Result<()> {
    let directory = tempfile::tempdir().unwrap();
    let builder = EmbeddedStore::builder(directory.path().join("store")).with_history(10);
    let store = builder.open().await?;
    put(&store, "a", "0").await?;
    let mut idle = store.begin().await?;
    idle.get(b"a").await?;
    idle.set(b"b", Bytes::new())?;
    for n in 0..30 {
        put(&store, "a", n.to_string()).await?;
    }
    let error = idle.get(b"a").await.expect_err("its state is gone");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = idle.commit().await.expect_err("its state is gone");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_gives_room_back_and_keeps_the_rest() -> Result<()> {
    let fixture = Fixture::new().await;
    for n in 0..200 {
        put(&fixture.store, &format!("k{n:03}"), vec![7; 20_000]).await?;
    }
    let mut tx = fixture.store.begin().await?;
    tx.clear_range(b"k010", b"z")?;
    tx.commit().await?;
    let before = std::fs::metadata(fixture.path()).unwrap().len();
    let mut reader = fixture.store.begin().await?;
    reader.get(b"k000").await?;
    let freed = fixture.store.compact().await?;
    let after = std::fs::metadata(fixture.path()).unwrap().len();
    assert_eq!(before - after, freed);
    assert!(after < before / 4, "{before} bytes became {after}");
    let error = reader.get(b"k001").await.expect_err("it was in the way");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(all(&fixture.store).await?.len(), 10);
    put(&fixture.store, "new", "1").await?;
    fixture.store.check().await
}

#[tokio::test]
async fn reads_of_a_range_that_was_largely_rewritten_are_complete() -> Result<()> {
    let fixture = Fixture::new().await;
    for n in 0..50 {
        put(&fixture.store, &format!("k{n:02}"), "stored").await?;
    }
    let mut tx = fixture.store.begin().await?;
    tx.clear_range(b"k10", b"k30")?;
    for n in (0..50).step_by(2) {
        if n < 40 {
            tx.set(format!("k{n:02}").as_bytes(), "own".into())?;
        } else {
            tx.clear(format!("k{n:02}").as_bytes())?;
        }
    }
    let mut expected: Vec<_> = (0..50)
        .filter(|n| {
            if n % 2 == 0 {
                *n < 40
            } else {
                !(10..30).contains(n)
            }
        })
        .map(|n| Bytes::from(format!("k{n:02}")))
        .collect();
    for reversed in [false, true] {
        for limit in [1, 3, 7, 100] {
            let range = Range::prefix(b"k").with_limit(limit);
            let range = if reversed { range.reversed() } else { range };
            let keys = tx
                .range_all(range)
                .await?
                .into_iter()
                .map(|entry| entry.key);
            assert_eq!(keys.collect::<Vec<_>>(), expected, "{limit} a page");
        }
        expected.reverse();
    }
    assert_eq!(
        get(&fixture.store, "k10").await?.as_deref(),
        Some(&b"stored"[..])
    );
    Ok(())
}
