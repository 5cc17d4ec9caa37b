//! What was set aside at the broker, and what is held because it keeps failing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coditect_core::bus::{Destination, Envelope, QueueSpec, Subscription};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::resilience::{Backoff, QuarantinePolicy};
use coditect_core::{ErrorKind, Redrive, RunState, SetAsideFilter, SetAsideKind};

use crate::place::{WORK, queue, runtime, vhost, within};
use crate::process::until;

/// An agent that counts its calls, and fails for good or succeeds.
fn counting(card: &'static str, calls: &Arc<AtomicUsize>, well: bool) -> impl Agent + use<> {
    let calls = Arc::clone(calls);
    agent(card, move |x: u64| {
        calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(match well {
            true => Ok(x),
            false => Err(AgentError::permanent("the schema has changed")),
        })
    })
}

#[tokio::test]
async fn what_keeps_failing_is_left_to_the_next_version_and_what_was_spent_is_put_back() {
    let Some(vhost) = vhost().await else { return };
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let place = || runtime(vhost.url()).registry(Arc::clone(&registry));
    let policy = QuarantinePolicy::new(3, 10, Duration::from_secs(600)).unwrap();
    let policy = policy.with_probe_after(Backoff::constant(Duration::from_secs(3_600)));
    let coordinator = place().quarantine_all(policy).start().await.unwrap();
    let (sick, well) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let first = place()
        .worker_only()
        .agent(counting("work@1.2.0", &sick, false));
    let first = first.start().await.unwrap();
    let mut spent = Vec::new();
    for x in 0..3 {
        let run = coordinator.submit(&WORK, x).await.unwrap();
        assert!(within(run.result()).await.is_err());
        spent.push(run);
    }
    let mut runs = Vec::new();
    for x in 0..10 {
        runs.push(coordinator.submit(&WORK, x).await.unwrap());
    }
    let held = coordinator.quarantined().await.unwrap();
    assert_eq!((held.len(), held[0].failures), (1, 3), "{held:?}");

    // It takes its tasks from the same queue as the one that is held.
    let second = place()
        .worker_only()
        .agent(counting("work@1.2.1", &well, true));
    let second = second.start().await.unwrap();
    for run in runs {
        within(run.result()).await.unwrap();
    }
    let dead = coordinator.dead_letters();
    let page = dead.list(&SetAsideFilter::all(), None).await.unwrap();
    assert_eq!(page.letters.len(), 3);
    for letter in &page.letters {
        assert_eq!(letter.by().unwrap().to_string(), "work/work@1.2.0");
    }
    let (all, same) = (SetAsideFilter::all(), Redrive::default());
    let done = dead.redrive_all(&all, &same).await.unwrap();
    assert_eq!((done.redriven, done.refused), (3, 0));
    for run in spent {
        let state = async || run.state().await.unwrap() == RunState::Succeeded;
        until("what was spent is done again", state).await;
    }
    assert_eq!(sick.load(Ordering::SeqCst), 3);
    assert_eq!(well.load(Ordering::SeqCst), 13);
    for runtime in [first, second, coordinator] {
        runtime.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_message_of_the_programs_own_is_listed_and_put_back_changed_and_once() {
    let Some(vhost) = vhost().await else { return };
    let runtime = runtime(vhost.url()).start().await.unwrap();
    let (bus, mine) = (runtime.bus(), queue("mine"));
    bus.declare(QueueSpec::new(mine.clone())).await.unwrap();
    let original = Envelope::new("1").with_header("colour", "blue");
    let id = original.id().to_string();
    let to = Destination::Queue(mine.clone());
    bus.publish(&to, original).await.unwrap();
    let subscription = Subscription::queue(mine.clone());
    let mut consumer = bus.subscribe(subscription).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap();
    delivery.reject("not today").await.unwrap();

    let dead = runtime.dead_letters();
    let filter = SetAsideFilter::all().with_queue(mine);
    let letters = dead.list(&filter, None).await.unwrap().letters;
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(
        (letter.kind(), letter.id()),
        (&SetAsideKind::Message, id.clone())
    );
    assert_eq!(
        (letter.reason_name(), letter.reason()),
        ("rejected", "not today")
    );
    let changed = Redrive::default().with_input(&2_u64).unwrap();
    dead.redrive_as(letter, &changed).await.unwrap();
    let gone = dead.redrive_as(letter, &changed).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let again = within(consumer.recv()).await.unwrap();
    let envelope = again.envelope();
    assert_eq!(
        (&envelope.payload()[..], envelope.header("colour")),
        (&b"2"[..], Some("blue"))
    );
    assert_eq!(envelope.header("coditect-redriven-from"), Some(&*id));
    again.ack().await.unwrap();
    runtime.shutdown().await.unwrap();
}
