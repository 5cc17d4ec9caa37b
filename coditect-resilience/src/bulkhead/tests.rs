//! The compartments against a naive model, and the layer as a caller meets it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{Error, ErrorKind};

#[derive(Default)]
struct Count {
    waits: AtomicU32,
    refusals: AtomicU32,
}

impl BulkheadObserver for Count {
    fn on_wait(&self, _: &str, _: u32) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    fn on_refused(&self, _: &str) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_wait_in_order_and_beyond_the_queue_are_refused() {
    let count = Arc::new(Count::default());
    let slots =
        Slots::new(BulkheadPolicy::new(1).unwrap().with_queue(2)).with_observer(count.clone());
    let service = BulkheadLayer::new(slots.clone()).layer(service_fn(|name: u32| async move {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, Error>(name)
    }));
    let started = Instant::now();
    let calls = (0..4).map(|name| {
        let service = service.clone();
        async move {
            (
                service.oneshot(name).await.map_err(|error| error.kind()),
                started.elapsed().as_secs(),
            )
        }
    });
    let mut calls: Vec<_> = calls.map(tokio::spawn).collect();
    assert_eq!(
        calls.pop().unwrap().await.unwrap(),
        (Err(ErrorKind::Overloaded), 0)
    );
    for (i, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), (Ok(i as u32), i as u64 + 1));
    }
    assert_eq!((slots.free(), slots.waiting()), (1, 0));
    assert_eq!(count.waits.load(Ordering::Relaxed), 2);
    assert_eq!(count.refusals.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_too_long_is_refused_and_one_that_is_dropped_leaves_the_queue() {
    let policy = BulkheadPolicy::new(1)
        .unwrap()
        .with_queue(9)
        .with_max_wait(Duration::from_millis(50));
    let slots = Slots::new(policy);
    let slot = slots.acquire().await.unwrap();
    let started = Instant::now();
    let refused = slots.acquire().await.unwrap_err();
    assert_eq!(
        (refused.kind(), started.elapsed().as_millis()),
        (ErrorKind::Overloaded, 50)
    );
    assert_eq!(slots.waiting(), 0);
    let dropped = tokio::time::timeout(Duration::from_millis(10), slots.acquire()).await;
    assert!(dropped.is_err());
    assert_eq!(slots.waiting(), 0);
    drop(slot);
    assert!(slots.acquire().await.is_ok());
}

#[test]
fn a_full_table_forgets_idle_keys_and_limits_the_rest_together() {
    let table = KeyedSlots::new(BulkheadPolicy::new(1).unwrap(), 2).with_observer(Arc::new(()));
    for key in 0..100 {
        assert!(table.slots(&key.to_string()).try_acquire().is_some());
        assert!(table.len() <= 2);
    }
    let held = [
        table.slots("a").try_acquire(),
        table.slots("b").try_acquire(),
    ];
    assert!(held.iter().all(Option::is_some));
    let over = table.slots("c").try_acquire();
    assert!(over.is_some());
    assert!(
        table.slots("d").try_acquire().is_none(),
        "it shares what c has taken"
    );
    assert!(
        table.slots("a").try_acquire().is_none(),
        "it was not forgotten"
    );
    drop(held);
    assert!(table.slots("d").try_acquire().is_some());
    assert!(!table.is_empty());
}

#[test]
fn a_policy_travels_and_is_checked() {
    let policy = BulkheadPolicy::new(3)
        .unwrap()
        .with_queue(4)
        .with_max_wait(Duration::from_secs(1));
    let sent = serde_json::to_string(&policy).unwrap();
    assert_eq!(
        sent,
        r#"{"max_concurrent":3,"max_queue":4,"max_wait_ms":1000}"#
    );
    assert_eq!(
        serde_json::from_str::<BulkheadPolicy>(&sent).unwrap(),
        policy
    );
    assert!(BulkheadPolicy::new(0).is_err());
    assert!(serde_json::from_str::<BulkheadPolicy>(r#"{"max_concurrent":0}"#).is_err());
}

type Acquire = Pin<Box<dyn Future<Output = Result<Slot, Error>>>>;

/// Moves those who got a slot from the queue to the slots, and returns their numbers.
fn let_in(queue: &mut VecDeque<(u32, Acquire)>, held: &mut Vec<(u32, Slot)>) -> Vec<u32> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut entered = Vec::new();
    queue.retain_mut(|(number, acquire)| match acquire.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(slot) => {
            held.push((*number, slot.expect("it is in the queue")));
            entered.push(*number);
            false
        }
        std::task::Poll::Pending => true,
    });
    entered
}

proptest! {
    #[test]
    fn the_compartment_agrees_with_a_naive_queue(
        concurrent in 1_u32..4,
        queue in 0_u32..4,
        steps in prop::collection::vec((0_u8..3, any::<usize>()), 0..100),
    ) {
        let slots = Slots::new(BulkheadPolicy::new(concurrent).unwrap().with_queue(queue));
        let (mut waiting, mut held) = (VecDeque::<(u32, Acquire)>::new(), Vec::<(u32, Slot)>::new());
        let (mut model_waiting, mut model_held) = (VecDeque::<u32>::new(), Vec::<u32>::new());
        for (number, (step, index)) in steps.into_iter().enumerate() {
            let number = number as u32;
            match step {
                0 => {
                    let slots = slots.clone();
                    let mut acquire: Acquire = Box::pin(async move { slots.acquire().await });
                    match acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        std::task::Poll::Ready(Ok(slot)) => {
                            held.push((number, slot));
                            prop_assert!(model_held.len() < concurrent as usize && model_waiting.is_empty());
                            model_held.push(number);
                        }
                        std::task::Poll::Ready(Err(error)) => {
                            prop_assert_eq!(error.kind(), ErrorKind::Overloaded);
                            prop_assert_eq!((model_held.len(), model_waiting.len()), (concurrent as usize, queue as usize));
                        }
                        std::task::Poll::Pending => {
                            waiting.push_back((number, acquire));
                            prop_assert_eq!(model_held.len(), concurrent as usize);
                            model_waiting.push_back(number);
                        }
                    }
                }
                1 if !held.is_empty() => {
                    let (gone, slot) = held.swap_remove(index % held.len());
                    drop(slot);
                    model_held.retain(|number| *number != gone);
                    let next = model_waiting.pop_front();
                    model_held.extend(next);
                    prop_assert_eq!(let_in(&mut waiting, &mut held), Vec::from_iter(next));
                }
                2 if !waiting.is_empty() => {
                    let index = index % waiting.len();
                    drop(waiting.remove(index));
                    model_waiting.remove(index);
                }
                _ => {}
            }
            prop_assert_eq!(slots.waiting() as usize, model_waiting.len());
            prop_assert_eq!(slots.free(), concurrent as usize - model_held.len());
        }
    }
}
