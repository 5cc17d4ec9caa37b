//! Redis that hangs and a RabbitMQ that cannot be reached, with guards before them and without.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{
    Destination, Envelope, ErrorKind, MessageBus, QueueName, QueueSpec, RabbitMqBus,
};
use coditect_core::guard::{GuardPolicy, GuardedBus, GuardedStore};
use coditect_core::state::{RedisStore, StateStore, StateStoreExt, TransactionExt};
use coditect_harness::{RabbitMq, Redis, Relay, required};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const CALLERS: usize = 32;
const PAUSE: Duration = Duration::from_millis(2);
/// How long a backend waits for an answer here: less than it does by default, so that the test is short.
const ANSWER: Duration = Duration::from_millis(500);
const BEFORE: Duration = Duration::from_secs(1);
const OUTAGE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(8);
/// How soon the end of an outage is found out: the longest time that a breaker is open, a call that was still waiting then,
/// and what the backend takes to connect again.
const SOON: Duration = Duration::from_secs(5);

/// What became of a call: when it was begun, how long it took, and whether it succeeded.
type Seen = Vec<(Instant, Duration, bool)>;

/// Calls again and again, from many tasks.
async fn load<F>(until: Instant, call: impl Fn() -> F + Clone + Send + 'static) -> Seen
where
    F: Future<Output = bool> + Send,
{
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let call = call.clone();
        callers.spawn(async move {
            let mut seen = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                let is_well = call().await;
                seen.push((begun, begun.elapsed(), is_well));
                sleep(PAUSE).await;
            }
            seen
        });
    }
    callers.join_all().await.concat()
}

/// Prints what callers felt of an outage, and judges those with a guard.
fn judge(what: &str, outage: (Instant, Instant), bare: &Seen, guarded: &Seen) {
    // What was begun when it was known.
    let known = outage.0 + 3 * ANSWER..outage.1;
    let [waits, told] = [bare, guarded].map(|seen| {
        let within = seen.iter().filter(|(begun, ..)| known.contains(begun));
        let mut took = Vec::from_iter(within.map(|(_, took, _)| *took));
        took.sort_unstable();
        took
    });
    let [late, soon] = [bare, guarded].map(|seen| {
        let after = seen
            .iter()
            .filter(|(begun, took, is_well)| *is_well && *begun + *took > outage.1);
        let ended = after.map(|(begun, took, _)| *begun + *took).min();
        ended.unwrap() - outage.1
    });
    let waited = told.iter().filter(|took| **took > ANSWER / 2).count();
    let middle = told[told.len() / 2];
    println!(
        "{what}: with a guard {} calls in {:?} of the outage, half of them told within {middle:?}, {waited} of them \
         waiting for an answer, first success {soon:?} after it; without {} calls, half of them within {:?}, first \
         success {late:?}",
        told.len(),
        known.end - known.start,
        waits.len(),
        waits[waits.len() / 2],
    );
    assert!(middle < Duration::from_millis(50), "{middle:?}");
    assert!(waited * 20 < told.len(), "{waited} of {}", told.len());
    assert!(soon < SOON, "{soon:?}");
    let well = guarded
        .iter()
        .filter(|(begun, ..)| *begun > outage.1 + SOON);
    let (mut count, mut failed) = (0, 0);
    for (_, _, is_well) in well {
        count += 1;
        failed += usize::from(!is_well);
    }
    assert!(count > 0 && failed == 0, "{failed} of {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_is_left_alone_and_used_again_soon_after() {
    let Some(redis) = required(Redis::start()).await else {
        return;
    };
    let _alone = crate::ALONE.lock().await;
    let store = async || {
        let builder = RedisStore::builder(redis.url()).with_namespace(Redis::namespace());
        let store = builder.with_response_timeout(ANSWER).connect().await;
        Arc::new(store.unwrap()) as Arc<dyn StateStore>
    };
    let bare = store().await;
    let guarded = Arc::new(GuardedStore::new(store().await, GuardPolicy::state()));
    let begun = Instant::now();
    let outage = (begun + BEFORE, begun + BEFORE + OUTAGE);
    let until = outage.1 + AFTER;
    let with = guarded as Arc<dyn StateStore>;
    let [bare, guarded] = [bare, with].map(|store| {
        tokio::spawn(load(until, move || {
            let store = Arc::clone(&store);
            async move {
                let read = async { store.begin().await?.get(b"key").await };
                read.await.is_ok()
            }
        }))
    });
    sleep(outage.0 - Instant::now()).await;
    redis.pause().await.unwrap();
    sleep(outage.1 - Instant::now()).await;
    redis.resume().await.unwrap();
    let healed = (outage.0, Instant::now());
    judge(
        "redis that hangs",
        healed,
        &bare.await.unwrap(),
        &guarded.await.unwrap(),
    );
    let store = store().await;
    let written = store.transact(|mut tx| async move { tx.set_json(b"key", &1) });
    written.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_out_of_reach_is_left_alone_and_used_again_soon_after() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let _alone = crate::ALONE.lock().await;
    let vhost = broker.vhost().await.unwrap();
    let relay = Relay::start(broker.place()).await.unwrap();
    let connect = async || {
        let builder = RabbitMqBus::builder(vhost.url_through(relay.addr()));
        let bus = builder.with_confirm_timeout(ANSWER).connect().await;
        Arc::new(bus.unwrap()) as Arc<dyn MessageBus>
    };
    let queue = QueueName::new("ring").unwrap();
    let ring = QueueSpec::new(queue.clone());
    let bare = connect().await;
    bare.declare(ring).await.unwrap();
    let guarded = GuardedBus::new(connect().await, GuardPolicy::bus());
    let begun = Instant::now();
    let outage = (begun + BEFORE, begun + BEFORE + OUTAGE);
    let until = outage.1 + AFTER;
    let to = Destination::Queue(queue);
    let [bare, guarded] = [bare, guarded.handle()].map(|bus| {
        let to = to.clone();
        tokio::spawn(load(until, move || {
            let (bus, to) = (Arc::clone(&bus), to.clone());
            async move {
                // That the queue is full is an answer.
                let published = bus.publish(&to, Envelope::new("letter")).await;
                published.map_or_else(|error| error.kind() == ErrorKind::Full, |()| true)
            }
        }))
    });
    sleep(outage.0 - Instant::now()).await;
    relay.refuse();
    relay.cut();
    sleep(outage.1 - Instant::now()).await;
    relay.resume();
    let healed = (outage.0, Instant::now());
    judge(
        "rabbitmq out of reach",
        healed,
        &bare.await.unwrap(),
        &guarded.await.unwrap(),
    );
}
