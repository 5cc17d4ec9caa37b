//! Disks that fill up or fail: nothing answered is lost, nothing is half done, and it goes on.

use super::*;

/// Commits a transaction over two keys, which must agree for ever after.
async fn pair(store: &EmbeddedStore, number: u32) -> Result<()> {
    let mut tx = store.begin().await?;
    tx.get(b"last").await?;
    let value = Bytes::from(vec![number as u8; 3_000]);
    tx.set(format!("a/{number:05}").as_bytes(), value.clone())?;
    tx.set(format!("b/{number:05}").as_bytes(), value)?;
    tx.set(b"last", number.to_be_bytes().to_vec().into())?;
    tx.commit().await.map(|_| ())
}

async fn numbers(store: &EmbeddedStore, prefix: &str) -> Vec<u32> {
    let mut tx = store.begin().await.unwrap();
    let entries = tx.range_all(Range::prefix(prefix.as_bytes())).await;
    let number = |key: &[u8]| String::from_utf8_lossy(&key[2..]).parse().unwrap();
    entries
        .unwrap()
        .iter()
        .map(|entry| number(&entry.key))
        .collect()
}

/// Checks that the store holds what was answered, nothing by halves, and nothing that was refused.
async fn check(store: &EmbeddedStore, answered: &[u32], unknown: &[u32], place: &str) {
    let (a, b) = (numbers(store, "a/").await, numbers(store, "b/").await);
    assert_eq!(a, b, "{place}: half a transaction");
    let there = |number: &u32| a.contains(number);
    assert!(
        answered.iter().all(there),
        "{place}: {answered:?} became {a:?}"
    );
    let known = |number: &u32| answered.contains(number) || unknown.contains(number);
    assert!(a.iter().all(known), "{place}: {a:?} holds what was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_any_step_of_a_commit_loses_nothing() {
    for once in [true, false] {
        let mut steps = 0;
        loop {
            let fixture = Fixture::new().await;
            let place = format!("failure {steps}, once: {once}");
            let (mut answered, mut unknown) = (Vec::new(), Vec::new());
            for number in 0..3 {
                pair(&fixture.store, number).await.unwrap();
                answered.push(number);
            }
            fixture.faults.fail_after(steps, once);
            for number in 3..6 {
                match pair(&fixture.store, number).await {
                    Ok(()) => answered.push(number),
                    Err(error) if error.outcome_unknown() => unknown.push(number),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{place}: {error:?}")
                    }
                }
            }
            let failed = fixture.faults.heal();
            // In the same process: it goes on by itself.
            pair(&fixture.store, 6).await.unwrap();
            answered.push(6);
            check(&fixture.store, &answered, &unknown, &place).await;
            // And in the next.
            fixture.store.close().await.unwrap();
            let store = EmbeddedStore::open(fixture.path()).await.unwrap();
            check(
                &store,
                &answered,
                &unknown,
                &format!("{place}, opened again"),
            )
            .await;
            if !failed {
                break;
            }
            steps += 1;
        }
        assert!(steps > 10, "only {steps} steps were made to fail");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_is_over_when_there_is_room() {
    let fixture = Fixture::new().await;
    let mut answered = Vec::new();
    for number in 0..10 {
        pair(&fixture.store, number).await.unwrap();
        answered.push(number);
    }
    let size = std::fs::metadata(fixture.path()).unwrap().len();
    fixture.faults.fill_disk_at(size);
    let mut refused = 0;
    for number in 10..200 {
        match pair(&fixture.store, number).await {
            Ok(()) => answered.push(number),
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                assert!(error.to_string().contains("no space left"), "{error}");
                refused += 1;
            }
        }
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "the disk was to fill up");
    check(&fixture.store, &answered, &[], "while it is full").await;
    assert!(fixture.faults.heal());
    pair(&fixture.store, 1_000).await.unwrap();
    answered.push(1_000);
    check(&fixture.store, &answered, &[], "when there is room").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_conflicts_go_on_after_a_failure() {
    let fixture = Fixture::new().await;
    put(&fixture.store, "n", "0").await.unwrap();
    let mut early = fixture.store.begin().await.unwrap();
    early.get(b"n").await.unwrap();
    early.set(b"m", Bytes::new()).unwrap();

    let mut tx = fixture.store.begin().await.unwrap();
    tx.set(b"n", "1".into()).unwrap();
    let before = tx.commit().await.unwrap();
    fixture.faults.fail_after(0, true);
    assert!(put(&fixture.store, "n", "lost").await.is_err());
    fixture.faults.heal();

    let error = early.commit().await.expect_err("what it read has changed");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let mut tx = fixture.store.begin().await.unwrap();
    assert_eq!(tx.get(b"n").await.unwrap().as_deref(), Some(&b"1"[..]));
    tx.set(b"n", "2".into()).unwrap();
    assert!(tx.commit().await.unwrap() > before);
}
