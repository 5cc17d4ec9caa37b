//! The copy of a namespace's records that a process keeps, and what each change does to it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::wire::{Entry, Kind, Stored};
use crate::{AgentRecord, Change, Event, Health, Instance, Load};

/// How long after a loss of data who is missing may be about to register again: more than a renewal takes.
const RETURNING: Duration = Duration::from_secs(30);

/// The records as of one change.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    records: BTreeMap<Instance, Arc<AgentRecord>>,
    /// Those that live, but whose records this version cannot read.
    foreign: HashSet<Instance>,
    /// The number of the last change that is in it, as the server counts.
    sequence: u64,
    /// The number of the last event: the server's at first, then one more for each that watchers are told. It falls
    /// behind the server's by what concerns foreign instances.
    told: u64,
    /// Until when some may not have registered again after the data were lost.
    returning: Option<Instant>,
}

/// What became of an entry.
#[derive(Debug, PartialEq)]
pub(super) enum Applied {
    /// It is in, and this is what watchers are to be told.
    Told(Vec<Event>),
    /// Changes before it are missing, or what it says cannot be: the copy has to be made anew.
    Gap,
}

impl Replica {
    /// Begins an empty copy.
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            sequence,
            told: sequence,
            ..Self::default()
        }
    }

    /// Takes the place of another copy, of the same data or of others: events are numbered on from its last one.
    pub(super) fn succeed(&mut self, predecessor: &Self, same_data: bool) {
        self.told = self.told.max(predecessor.told);
        self.returning = match same_data {
            true => predecessor.returning,
            false => Some(Instant::now() + RETURNING),
        };
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn put(&mut self, stored: Stored) {
        let record = Arc::new(stored.record);
        self.records.insert(record.instance.clone(), record);
    }

    pub(super) fn put_foreign(&mut self, instance: Instance) {
        self.foreign.insert(instance);
    }

    /// Tells whether two copies say the same of every agent.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.records == other.records
    }

    pub(super) fn snapshot(&self) -> Event {
        let records = self.records.values().cloned().collect();
        let is_reset = self.returning.is_some_and(|end| Instant::now() < end);
        Event {
            sequence: self.told,
            change: match is_reset {
                true => Change::Reset(records),
                false => Change::Resync(records),
            },
        }
    }

    /// Applies an entry that must follow on the last one; one that is in already changes nothing.
    ///
    /// With `settling` the copy was read while it changed: an entry may be about what it already shows, or no longer has.
    pub(super) fn apply(&mut self, entry: Entry, settling: bool) -> Applied {
        let Entry {
            sequence,
            count,
            kind,
        } = entry;
        if sequence <= self.sequence {
            return Applied::Told(Vec::new());
        }
        if sequence - self.sequence != count {
            return Applied::Gap;
        }
        let mut changes = Vec::new();
        if !self.change(kind, &mut changes) && !settling {
            return Applied::Gap;
        }
        self.sequence = sequence;
        if settling {
            self.told = self.told.max(sequence);
            return Applied::Told(Vec::new());
        }
        let mut number = || {
            self.told += 1;
            self.told
        };
        let events = changes.into_iter().map(|change| Event {
            sequence: number(),
            change,
        });
        Applied::Told(events.collect())
    }

    /// Makes the changes of an entry; `false` if it is about what is not there.
    fn change(&mut self, kind: Kind, changes: &mut Vec<Change>) -> bool {
        match kind {
            Kind::Put(instance, Some(record)) => {
                let record = Arc::new(*record);
                self.foreign.remove(&instance);
                let before = self.records.insert(instance, Arc::clone(&record));
                changes.push(match before {
                    None => Change::Added(record),
                    Some(_) => Change::Updated(record),
                });
            }
            Kind::Put(_, None) => return false,
            Kind::Reported(reports) => {
                let mut known = true;
                for (instance, load, health) in reports {
                    known &= self.report(instance, load, health, changes);
                }
                return known;
            }
            Kind::Judged(instance, verdict) => match self.records.get_mut(&instance) {
                Some(record) => {
                    *record = Arc::new(record.judged(verdict.clone()));
                    changes.push(Change::Judged { instance, verdict });
                }
                None => return self.foreign.contains(&instance),
            },
            Kind::Gone(instance, reason) => match self.records.remove(&instance) {
                Some(_) => changes.push(Change::Removed { instance, reason }),
                None => return self.foreign.remove(&instance),
            },
            Kind::Foreign(instance) => {
                self.foreign.insert(instance);
            }
            // Kinds that a later version adds.
            Kind::Unreadable(_) => {}
        }
        true
    }

    fn report(
        &mut self,
        instance: Instance,
        load: Load,
        health: Health,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(record) = self.records.get_mut(&instance) else {
            return self.foreign.contains(&instance);
        };
        *record = Arc::new(record.reported(load, health));
        changes.push(Change::Reported {
            instance,
            load,
            health,
        });
        true
    }
}

#[cfg(test)]
mod tests;
