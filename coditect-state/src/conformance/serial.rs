//! Serializability as a whole: random transactions at the same time equal some serial order.
//!
//! Each transaction notes what it read and wrote, and writes a versionstamp. The stamps give the order of commits;
//! replayed in that order over a plain map, every read must give what it gave, and the map must end as the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;

use super::random::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Subspace;
use crate::range::{Entry, Range};
use crate::store::StateStore;
use crate::transaction::{Transaction, TransactionExt};
use crate::version::{Stamped, Versionstamp};

const CLIENTS: u64 = 6;
const TRANSACTIONS: u64 = 12;
const KEYS: u64 = 10;

/// Is what one step of a transaction did, and saw.
#[derive(Debug)]
enum Step {
    Get { key: Vec<u8>, saw: Option<Bytes> },
    Range { range: Range, saw: Vec<Entry> },
    Set { key: Vec<u8>, value: Bytes },
    Clear { key: Vec<u8> },
    ClearRange { begin: Vec<u8>, end: Vec<u8> },
}

/// Checks R1–R11 together, over several seeds.
pub async fn every_history_is_serial(store: &dyn StateStore) -> Result<()> {
    for seed in 0..20 {
        let mut tx = store.begin().await?;
        tx.clear_range(b"", b"\xfe")?;
        tx.commit().await?;
        history_is_serial(store, seed).await?;
    }
    Ok(())
}

/// Runs random transactions at once on an empty store, and checks that they equal a serial order.
pub async fn history_is_serial(store: &dyn StateStore, seed: u64) -> Result<()> {
    let stamps = &Subspace::new(&("stamps",));
    let clients = (0..CLIENTS).map(|client| run_client(store, stamps, seed, client));
    let mut histories: BTreeMap<(u64, u64), Vec<Step>> =
        try_join_all(clients).await?.into_iter().flatten().collect();

    let mut tx = store.begin().await?;
    let mut order = Vec::new();
    for entry in tx.range_all(stamps.range()).await? {
        let mut stamp = [0; Versionstamp::LEN];
        stamp.copy_from_slice(&entry.value);
        order.push((
            Versionstamp::from_bytes(stamp),
            stamps.unpack::<(u64, u64)>(&entry.key)?,
        ));
    }
    order.sort_unstable();

    let mut model = BTreeMap::new();
    for (stamp, name) in order {
        let Some(steps) = histories.remove(&name) else {
            panic!("seed {seed}: transaction {name:?} has a stamp but did not commit");
        };
        for step in steps {
            replay(
                &mut model,
                &step,
                &format!("seed {seed}, transaction {name:?} at {stamp:?}"),
            );
        }
    }
    assert!(
        histories.is_empty(),
        "seed {seed}: committed without a stamp: {:?}",
        histories.keys()
    );
    let stored = tx.range_all(Range::prefix(b"k")).await?;
    let stored: BTreeMap<Vec<u8>, Bytes> = stored
        .into_iter()
        .map(|entry| (entry.key.into(), entry.value))
        .collect();
    assert_eq!(
        stored, model,
        "seed {seed}: the store does not hold what the serial order gives"
    );
    Ok(())
}

/// Commits a client's transactions one after the other, each again until it succeeds.
async fn run_client(
    store: &dyn StateStore,
    stamps: &Subspace,
    seed: u64,
    client: u64,
) -> Result<Vec<((u64, u64), Vec<Step>)>> {
    let mut random = Random::new(seed << 8 | client);
    let mut committed = Vec::new();
    for number in 0..TRANSACTIONS {
        let name = (client, number);
        for attempt in 0.. {
            let mut tx = store.begin().await?;
            let outcome = async {
                let steps = run_steps(&mut *tx, &mut random, attempt).await?;
                tx.set_stamped_value(
                    &stamps.pack(&name),
                    Stamped::new(Bytes::new(), 0, Bytes::new()),
                )?;
                tokio::task::yield_now().await;
                tx.commit().await?;
                Ok::<_, Error>(steps)
            };
            match outcome.await {
                Ok(steps) => {
                    committed.push((name, steps));
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(committed)
}

async fn run_steps(
    tx: &mut dyn Transaction,
    random: &mut Random,
    attempt: u64,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for _ in 0..1 + random.below(6) {
        let key = random_key(random);
        let step = match random.below(12) {
            0..4 => Step::Get {
                saw: tx.get(&key).await?,
                key,
            },
            4..6 => {
                let range = random_range(random);
                Step::Range {
                    saw: tx.range(range.clone()).await?.entries,
                    range,
                }
            }
            6..10 => Step::Set {
                key,
                value: Bytes::from(format!("{}/{attempt}", random.next())),
            },
            10 => Step::Clear { key },
            _ => {
                let range = random_range(random);
                Step::ClearRange {
                    begin: range.begin().to_vec(),
                    end: range.end().to_vec(),
                }
            }
        };
        match &step {
            Step::Set { key, value } => tx.set(key, value.clone())?,
            Step::Clear { key } => tx.clear(key)?,
            Step::ClearRange { begin, end } => tx.clear_range(begin, end)?,
            Step::Get { .. } | Step::Range { .. } => {}
        }
        steps.push(step);
        if random.below(2) == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(steps)
}

fn random_key(random: &mut Random) -> Vec<u8> {
    format!("k{}", random.below(KEYS)).into_bytes()
}

fn random_range(random: &mut Random) -> Range {
    let (one, two) = (random_key(random), random_key(random));
    let range = Range::new(one.clone().min(two.clone()), one.max(two))
        .with_limit(1 + random.below(5) as usize);
    if random.below(2) == 0 {
        range.reversed()
    } else {
        range
    }
}

fn replay(model: &mut BTreeMap<Vec<u8>, Bytes>, step: &Step, place: &str) {
    match step {
        Step::Get { key, saw } => assert_eq!(model.get(key), saw.as_ref(), "{place}: {step:?}"),
        Step::Range { range, saw } => {
            let entry = |(key, value): (&Vec<u8>, &Bytes)| Entry {
                key: key.clone().into(),
                value: value.clone(),
            };
            let all = model
                .range(range.begin().to_vec()..range.end().to_vec())
                .map(entry);
            let expected: Vec<_> = if range.is_reversed() {
                all.rev().take(range.limit()).collect()
            } else {
                all.take(range.limit()).collect()
            };
            assert_eq!(&expected, saw, "{place}: {step:?}");
        }
        Step::Set { key, value } => {
            model.insert(key.clone(), value.clone());
        }
        Step::Clear { key } => {
            model.remove(key);
        }
        Step::ClearRange { begin, end } => model.retain(|key, _| key < begin || key >= end),
    }
}
