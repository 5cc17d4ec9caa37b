//! The memory store against a plain ordered map behind a lock, in the same run.
//!
//! `cargo bench -p coditect-state`. The ratio says what transactions cost on top of the map.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_state::key::Subspace;
use coditect_state::{MemoryStore, Range, StateStore, StateStoreExt, Steps, TransactionExt};
use parking_lot::Mutex;
use tokio::time::Instant;

const ROUNDS: u32 = 200_000;
const KEYS: u32 = 10_000;

fn key(n: u32) -> [u8; 8] {
    u64::from(n % KEYS).to_be_bytes()
}

fn report(what: &str, elapsed: Duration, floor: Duration) {
    let nanos = elapsed.as_nanos() / u128::from(ROUNDS);
    let ratio = elapsed.as_secs_f64() / floor.as_secs_f64();
    println!("{what:<44} {nanos:>6} ns   {ratio:>6.1} × map");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> coditect_state::Result<()> {
    let value = Bytes::from_static(&[7; 64]);

    let map = Mutex::new(BTreeMap::<Bytes, Bytes>::new());
    let started = Instant::now();
    for n in 0..ROUNDS {
        map.lock()
            .insert(Bytes::copy_from_slice(&key(n)), value.clone());
    }
    let floor = started.elapsed();
    report("map: insert", floor, floor);

    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let started = Instant::now();
    for n in 0..ROUNDS {
        let mut tx = store.begin().await?;
        tx.set(&key(n), value.clone())?;
        tx.commit().await?;
    }
    report("begin, set, commit", started.elapsed(), floor);

    let started = Instant::now();
    for n in 0..ROUNDS {
        let mut tx = store.begin().await?;
        black_box(tx.get(&key(n)).await?);
        tx.set(&key(n), value.clone())?;
        tx.commit().await?;
    }
    report("begin, get, set, commit", started.elapsed(), floor);

    let started = Instant::now();
    for n in 0..ROUNDS {
        let value = &value;
        store
            .transact(|mut tx| async move { tx.set(&key(n), value.clone()) })
            .await?;
    }
    report("transact: set", started.elapsed(), floor);

    let started = Instant::now();
    for n in 0..ROUNDS {
        let value = &value;
        let swap = |mut tx: coditect_state::Tx| async move {
            tx.compare_and_set(&key(n), Some(value), Some(value.clone()))
                .await
        };
        assert!(store.transact(swap).await?);
    }
    report("transact: compare and set", started.elapsed(), floor);

    let started = Instant::now();
    let batches = ROUNDS / 100;
    for batch in 0..batches {
        let mut tx = store.begin().await?;
        for n in 0..100 {
            tx.set(&key(batch * 100 + n), value.clone())?;
        }
        tx.commit().await?;
    }
    report("set, 100 a commit", started.elapsed(), floor);

    let started = Instant::now();
    let pages = ROUNDS / 1_000;
    for _ in 0..pages {
        let mut tx = store.begin().await?;
        black_box(tx.range(Range::bounds::<&[u8]>(..)).await?);
    }
    report(
        "range, 1,000 a page, for each entry",
        started.elapsed(),
        floor,
    );

    let steps = Steps::new(store.clone(), Subspace::new(&("steps",)));
    steps
        .once("step", async || Ok::<_, coditect_state::Error>(1))
        .await?;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(
            steps
                .once("step", async || Ok::<_, coditect_state::Error>(2))
                .await?,
        );
    }
    report("once: kept result", started.elapsed(), floor);
    Ok(())
}
