//! How many tasks of a capability, or of a tenant, are worked on at once, by all processes together.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "limits/changing.rs"]
mod changing;
#[path = "limits/children.rs"]
mod children;
#[path = "limits/dying.rs"]
mod dying;
#[path = "limits/shared.rs"]
mod shared;
#[path = "limits/stores.rs"]
mod stores;
#[path = "limits/tenants.rs"]
mod tenants;

mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::state::key::Subspace;
use coditect_core::state::{StateStore, StateStoreExt, TransactionExt};
use parking_lot::Mutex;

const WORK: Call<u64, u64> = Call::new("work");

/// Counts which attempts are at work, and how many were at most. One that is at work twice, as after the death of its owner, is
/// one.
#[derive(Clone, Default)]
struct Census(Arc<Mutex<BTreeMap<String, Tally>>>);

#[derive(Default)]
struct Tally {
    now: BTreeMap<String, usize>,
    most: usize,
}

/// An attempt is at work.
struct AtWork {
    census: Census,
    what: String,
    attempt: String,
}

impl Census {
    fn enter(&self, what: &str, context: &TaskContext) -> AtWork {
        let attempt = format!("{} {}", context.idempotency_key(), context.attempt());
        let mut all = self.0.lock();
        let tally = all.entry(what.to_owned()).or_default();
        *tally.now.entry(attempt.clone()).or_default() += 1;
        tally.most = tally.most.max(tally.now.len());
        AtWork {
            census: self.clone(),
            what: what.to_owned(),
            attempt,
        }
    }

    fn now(&self, what: &str) -> usize {
        self.0.lock().get(what).map_or(0, |tally| tally.now.len())
    }

    fn most(&self, what: &str) -> usize {
        self.0.lock().get(what).map_or(0, |tally| tally.most)
    }

    fn forget(&self) {
        for tally in self.0.lock().values_mut() {
            tally.most = tally.now.len();
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut all = self.census.0.lock();
        let now = &mut all.get_mut(&self.what).unwrap().now;
        let handlers = now.get_mut(&self.attempt).unwrap();
        *handlers -= 1;
        if *handlers == 0 {
            now.remove(&self.attempt);
        }
    }
}

/// An agent that works for some milliseconds, by its input.
fn work(name: &str, census: &Census) -> impl Agent {
    let (census, what) = (census.clone(), name.to_owned());
    let work = agent(name, move |context: TaskContext, x: u64| {
        let (census, what) = (census.clone(), what.clone());
        async move {
            let _at_work = census.enter(&what, &context);
            let _of_tenant = census.enter(context.tenant(), &context);
            tokio::time::sleep(Duration::from_millis(x % 97)).await;
            Ok::<_, AgentError>(x)
        }
    });
    work.with_concurrency(32)
}

/// The keys of what the store keeps of limits, but for the limits themselves.
async fn shares(store: &Arc<dyn StateStore>) -> Vec<String> {
    let under = Subspace::new(&("limit",));
    let read = store.transact(|mut tx| {
        let range = under.range();
        async move { tx.range_all(range).await }
    });
    let entries = read.await.unwrap();
    let keys = entries.iter().map(|entry| {
        let key = String::from_utf8_lossy(&entry.key);
        key.into_owned()
    });
    keys.filter(|key| {
        ["board", "of", "call"]
            .iter()
            .any(|kind| key.contains(kind))
    })
    .collect()
}
