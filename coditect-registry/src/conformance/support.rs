//! What the rules have in common: the subject, and short ways to say what they do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    AgentRecord, Capability, Change, ErrorKind, Event, Filter, Incarnation, Instance, Registry,
    Result, Watch,
};

/// A lease that ends soon, yet not before a few round trips are over.
pub(super) const SHORT: Duration = Duration::from_millis(400);

/// A lease that outlasts every rule.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A fresh, empty registry that is put to the test.
#[derive(Debug)]
pub struct Subject {
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// How many changes a watch of it may be behind before it gets a resync.
    pub watch_buffer: usize,
}

impl Subject {
    pub(super) async fn records(&self) -> Vec<Arc<AgentRecord>> {
        self.registry.list(&Filter::all()).await.expect("list")
    }

    /// The instances that `list` finds, sorted.
    pub(super) async fn instances(&self) -> Vec<Instance> {
        let mut instances: Vec<_> = self
            .records()
            .await
            .iter()
            .map(|record| record.instance.clone())
            .collect();
        instances.sort_unstable();
        instances
    }

    /// Opens a watch and takes its first resync.
    pub(super) async fn watch(&self) -> (Watch, Event) {
        let mut watch = self.registry.watch().await.expect("watch");
        let first = next(&mut watch).await;
        assert!(
            first.change.everything().is_some(),
            "the first event is {first:?}, not a resync"
        );
        (watch, first)
    }

    pub(super) async fn registered(
        &self,
        record: AgentRecord,
        ttl: Duration,
    ) -> crate::Registration {
        self.registry.register(record, ttl).await.expect("register")
    }
}

pub(super) fn record(agent: &str) -> AgentRecord {
    AgentRecord::new(agent.parse().expect("a valid name"), Incarnation::fresh())
        .with_capabilities([capability("work", "1.0.0")])
}

pub(super) fn capability(name: &str, version: &str) -> Capability {
    Capability::new(name, version.parse().expect("a valid version")).expect("a valid name")
}

pub(super) async fn next(watch: &mut Watch) -> Event {
    let event = tokio::time::timeout(LONG / 10, watch.next())
        .await
        .expect("no event came");
    event.expect("the watch has ended")
}

/// Lets time pass: the lease's own clock is what is waited for, so there is no signal to await instead.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[track_caller]
pub(super) fn assert_refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) {
    match result {
        Ok(value) => panic!("expected {kind:?}, got {value:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

/// A copy of the registry, kept by the events of a watch.
#[derive(Debug, Default)]
pub(super) struct Copy {
    pub(super) records: HashMap<Instance, AgentRecord>,
    pub(super) sequence: Option<u64>,
    pub(super) resyncs: usize,
}

impl Copy {
    /// Takes over an event, and fails if it does not follow upon the one before.
    pub(super) fn apply(&mut self, event: Event) {
        if let Some(records) = event.change.everything() {
            assert!(
                self.sequence <= Some(event.sequence),
                "a resync went back in time"
            );
            self.records = records
                .iter()
                .map(|record| (record.instance.clone(), AgentRecord::clone(record)))
                .collect();
            self.resyncs += 1;
        } else {
            assert_eq!(
                Some(event.sequence),
                self.sequence.map(|last| last + 1),
                "a gap before {:?}",
                event.change
            );
            self.change(event.change);
        }
        self.sequence = Some(event.sequence);
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Added(record) => {
                let before = self
                    .records
                    .insert(record.instance.clone(), AgentRecord::clone(&record));
                assert_eq!(before, None, "added twice");
            }
            Change::Updated(record) => {
                let before = self
                    .records
                    .insert(record.instance.clone(), AgentRecord::clone(&record));
                assert!(before.is_some(), "updated before it was added: {record:?}");
            }
            Change::Reported {
                instance,
                load,
                health,
            } => {
                let record = self.records.get_mut(&instance).expect("a report of nobody");
                *record = record.reported(load, health);
            }
            Change::Judged { instance, verdict } => {
                let record = self
                    .records
                    .get_mut(&instance)
                    .expect("a verdict on nobody");
                *record = record.judged(verdict);
            }
            Change::Removed { instance, .. } => {
                assert!(
                    self.records.remove(&instance).is_some(),
                    "removed twice: {instance}"
                );
            }
            Change::Resync(_) | Change::Reset(_) => unreachable!("handled by the caller"),
        }
    }

    pub(super) fn instances(&self) -> Vec<Instance> {
        let mut instances: Vec<_> = self.records.keys().cloned().collect();
        instances.sort_unstable();
        instances
    }
}
