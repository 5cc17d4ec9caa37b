//! A registry that has lost its data: whom it has forgotten stays for a grace, behind those who are known for certain.

use futures::FutureExt;

use super::interruption::{Scripted, until};
use super::*;
use crate::{Change, Event};

fn resync(sequence: u64, records: &[AgentRecord]) -> Event {
    let records = records.iter().cloned().map(Arc::new).collect();
    Event {
        sequence,
        change: Change::Resync(records),
    }
}

fn added(sequence: u64, record: &AgentRecord) -> Event {
    Event {
        sequence,
        change: Change::Added(Arc::new(record.clone())),
    }
}

fn chosen(view: &View) -> std::collections::BTreeSet<String> {
    (0..20)
        .filter_map(|i| name(view.pick(&work("*"), &RoundRobin, i)))
        .collect()
}

fn names<const N: usize>(names: [&str; N]) -> std::collections::BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test(start_paused = true)]
async fn whom_an_emptied_registry_has_forgotten_stays_until_the_grace_is_over() {
    let registry = Arc::new(Scripted::default());
    let all = ["a", "b", "c"].map(|agent| record(agent, &["1.0.0"]));
    let events = registry.prepare();
    events.send(resync(1, &all)).await.unwrap();
    let view = View::builder()
        .with_grace(Duration::from_secs(10))
        .follow(Arc::clone(&registry) as _)
        .await
        .unwrap();
    let held = view.pick(&work("*"), &RoundRobin, 0).unwrap();
    let lost = view.candidate(&all[2].instance).unwrap().lost();

    events.send(resync(100, &[])).await.unwrap();
    until(|| view.sequence() == 100).await;
    assert_eq!((view.len(), chosen(&view)), (3, names(["a", "b", "c"])));
    // Who registers again is known for certain, and is preferred to the others.
    events.send(added(101, &all[0])).await.unwrap();
    until(|| view.sequence() == 101).await;
    assert_eq!(chosen(&view), names(["a"]));
    assert_eq!(held.candidate().own_in_flight(), 1);
    events.send(added(102, &all[1])).await.unwrap();
    until(|| view.sequence() == 102).await;
    assert_eq!((view.len(), chosen(&view)), (3, names(["a", "b"])));
    // A second resync does not start the grace anew, nor does it end it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    events.send(resync(103, &all[..2])).await.unwrap();
    until(|| view.sequence() == 103).await;
    assert_eq!(view.len(), 3);

    let mut lost = std::pin::pin!(lost);
    assert_eq!(lost.as_mut().now_or_never(), None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((view.len(), chosen(&view)), (2, names(["a", "b"])));
    lost.await;
}

#[tokio::test(start_paused = true)]
async fn a_few_who_are_missing_from_a_resync_are_gone_at_once() {
    let registry = Arc::new(Scripted::default());
    let all = ["a", "b", "c", "d"].map(|agent| record(agent, &["1.0.0"]));
    let events = registry.prepare();
    events.send(resync(1, &all)).await.unwrap();
    let view = View::follow(Arc::clone(&registry) as _).await.unwrap();
    events.send(resync(9, &all[..2])).await.unwrap();
    until(|| view.sequence() == 9).await;
    assert_eq!((view.len(), chosen(&view)), (2, names(["a", "b"])));
}

#[tokio::test(start_paused = true)]
async fn a_few_who_are_missing_after_the_data_were_lost_may_come_back() {
    let registry = Arc::new(Scripted::default());
    let all = ["a", "b", "c", "d"].map(|agent| record(agent, &["1.0.0"]));
    let events = registry.prepare();
    events.send(resync(1, &all)).await.unwrap();
    let view = View::follow(Arc::clone(&registry) as _).await.unwrap();
    let returned = all[..3].iter().cloned().map(Arc::new).collect();
    let reset = Event {
        sequence: 9,
        change: Change::Reset(returned),
    };
    events.send(reset).await.unwrap();
    until(|| view.sequence() == 9).await;
    assert_eq!((view.len(), chosen(&view)), (4, names(["a", "b", "c"])));
    events.send(added(10, &all[3])).await.unwrap();
    until(|| view.sequence() == 10).await;
    assert_eq!(chosen(&view), names(["a", "b", "c", "d"]));
}

#[tokio::test(start_paused = true)]
async fn the_forgotten_who_take_their_leave_are_gone_at_once() {
    let registry = Arc::new(Scripted::default());
    let all = ["a", "b"].map(|agent| record(agent, &["1.0.0"]));
    let events = registry.prepare();
    events.send(resync(1, &all)).await.unwrap();
    let view = View::follow(Arc::clone(&registry) as _).await.unwrap();
    events.send(resync(2, &[])).await.unwrap();
    let removed = Change::Removed {
        instance: all[0].instance.clone(),
        reason: crate::RemovalReason::Deregistered,
    };
    let change = Event {
        sequence: 3,
        change: removed,
    };
    events.send(change).await.unwrap();
    until(|| view.sequence() == 3).await;
    assert_eq!((view.len(), chosen(&view)), (1, names(["b"])));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(view.is_empty() && !view.offers(&work("*")));
}
