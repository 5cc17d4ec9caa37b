//! What the memory registry knows, and every rule about it; time is handed in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::Instant;

use super::role::Roles;
use crate::{
    AgentId, AgentRecord, CapabilityName, Change, Error, ErrorKind, Event, FencingToken, Filter,
    Health, Incarnation, Instance, Load, Observer, Registration, RemovalReason, Result, Role,
    TenantId, Verdict,
};

/// How many of the incarnations that it replaced an exclusive holder remembers.
const MAX_REPLACED: usize = 64;

pub(super) struct State {
    entries: BTreeMap<FencingToken, Entry>,
    by_agent: HashMap<AgentKey, Vec<FencingToken>>,
    by_capability: HashMap<CapabilityName, BTreeSet<FencingToken>>,
    deadlines: BTreeSet<(Instant, FencingToken)>,
    pub(super) roles: Roles,
    next_token: FencingToken,
    /// The number of the last change.
    sequence: u64,
    changes: Sender<Event>,
    observer: Arc<dyn Observer>,
}

/// One lease and what it keeps.
struct Entry {
    record: Arc<AgentRecord>,
    ttl: Duration,
    deadline: Instant,
    /// Whom it has replaced, oldest first: they may not come back while it lives.
    replaced: Vec<Incarnation>,
}

/// Agents of the same name but of different tenants are strangers.
type AgentKey = (Option<TenantId>, AgentId);

impl State {
    pub(super) fn new(
        watch_buffer: usize,
        first_token: FencingToken,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_agent: HashMap::new(),
            by_capability: HashMap::new(),
            deadlines: BTreeSet::new(),
            roles: Roles::default(),
            next_token: first_token,
            sequence: 0,
            changes: Sender::new(watch_buffer),
            observer,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Tells whether every index is empty.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.entries.is_empty()
            && self.by_agent.is_empty()
            && self.by_capability.is_empty()
            && self.deadlines.is_empty()
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out every lease that has ended.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, token)) = self.deadlines.first()
            && deadline <= now
        {
            self.remove(token, RemovalReason::Expired);
        }
    }

    pub(super) fn register(
        &mut self,
        record: AgentRecord,
        ttl: Duration,
        now: Instant,
    ) -> Result<Registration> {
        let instance = record.instance.clone();
        if self.is_replaced(&instance) {
            return Err(self.refuse(&instance));
        }
        let (earlier, others) = self.siblings(&instance);
        let exclusive = record.exclusive
            || others
                .iter()
                .any(|other| self.entries[other].record.exclusive);
        let mut replaced = Vec::new();
        if exclusive {
            for other in others {
                replaced.extend(self.remove(other, RemovalReason::Replaced));
            }
        }
        let is_new = earlier.is_none();
        if let Some(entry) = earlier.and_then(|earlier| self.take_out(earlier)) {
            replaced.splice(0..0, entry.replaced);
        }
        replaced.drain(..replaced.len().saturating_sub(MAX_REPLACED));

        let token = self.draw();
        let record = Arc::new(record.judged(None));
        self.put_in(
            token,
            Entry {
                record: Arc::clone(&record),
                ttl,
                deadline: now + ttl,
                replaced,
            },
        );
        self.tell(if is_new {
            Change::Added(record)
        } else {
            Change::Updated(record)
        });
        let registration = Registration {
            instance,
            token,
            ttl,
        };
        self.observer.registered(&registration);
        Ok(registration)
    }

    pub(super) fn renew(
        &mut self,
        of: &Registration,
        load: Load,
        health: Health,
        now: Instant,
    ) -> Result<()> {
        let Some(entry) = live(&mut self.entries, of) else {
            return Err(self.refuse(&of.instance));
        };
        self.deadlines.remove(&(entry.deadline, of.token));
        entry.deadline = now + entry.ttl;
        self.deadlines.insert((entry.deadline, of.token));
        if (entry.record.load, entry.record.health) != (load, health) {
            entry.record = Arc::new(entry.record.reported(load, health));
            self.tell(Change::Reported {
                instance: of.instance.clone(),
                load,
                health,
            });
        }
        self.observer.renewed(of);
        Ok(())
    }

    pub(super) fn update(&mut self, of: &Registration, record: AgentRecord) -> Result<()> {
        if record.instance != of.instance {
            return Err(Error::invalid(format!(
                "the record is about {}, not {}",
                record.instance, of.instance
            )));
        }
        let Some(entry) = live(&mut self.entries, of) else {
            return Err(self.refuse(&of.instance));
        };
        let record = Arc::new(record.judged(entry.record.verdict.clone()));
        if let Some(entry) = self.take_out(of.token) {
            self.put_in(
                of.token,
                Entry {
                    record: Arc::clone(&record),
                    ..entry
                },
            );
        }
        self.tell(Change::Updated(record));
        Ok(())
    }

    pub(super) fn judge(&mut self, instance: &Instance, verdict: Option<Verdict>) -> Result<()> {
        let (token, _) = self.siblings(instance);
        let Some(entry) = token.and_then(|token| self.entries.get_mut(&token)) else {
            return Err(self.refuse(instance));
        };
        if entry.record.verdict != verdict {
            entry.record = Arc::new(entry.record.judged(verdict.clone()));
            self.observer.judged(instance, verdict.as_ref());
            self.tell(Change::Judged {
                instance: instance.clone(),
                verdict,
            });
        }
        Ok(())
    }

    pub(super) fn elect(
        &mut self,
        role: &Role,
        candidate: Incarnation,
        ttl: Duration,
        now: Instant,
    ) -> Option<FencingToken> {
        if let Some(answer) = self.roles.ask(role, candidate, now + ttl, now) {
            return answer;
        }
        let token = self.draw();
        self.roles.begin(role, candidate, token, now + ttl);
        Some(token)
    }

    fn draw(&mut self) -> FencingToken {
        let token = self.next_token;
        self.next_token = FencingToken::new(token.as_u64() + 1);
        token
    }

    pub(super) fn deregister(&mut self, of: &Registration) {
        if live(&mut self.entries, of).is_some() {
            self.remove(of.token, RemovalReason::Deregistered);
        }
    }

    pub(super) fn list(&self, filter: &Filter) -> Vec<Arc<AgentRecord>> {
        let passes = |entry: &&Entry| filter.matches(&entry.record);
        let record = |entry: &Entry| Arc::clone(&entry.record);
        let Some(requirement) = &filter.requirement else {
            return self.entries.values().filter(passes).map(record).collect();
        };
        let offering = self.by_capability.get(&requirement.name);
        offering
            .into_iter()
            .flatten()
            .map(|token| &self.entries[token])
            .filter(passes)
            .map(record)
            .collect()
    }

    /// Returns everything there is as a resync, and a receiver of every change after it.
    pub(super) fn snapshot(&self) -> (Event, Receiver<Event>) {
        let records: Vec<_> = self
            .entries
            .values()
            .map(|entry| Arc::clone(&entry.record))
            .collect();
        self.observer.resynced(records.len());
        (
            Event {
                sequence: self.sequence,
                change: Change::Resync(records),
            },
            self.changes.subscribe(),
        )
    }

    /// Returns the registration of this very instance, and those of other incarnations of its agent.
    fn siblings(&self, instance: &Instance) -> (Option<FencingToken>, Vec<FencingToken>) {
        let tokens = self
            .by_agent
            .get(&key(instance))
            .into_iter()
            .flatten()
            .copied();
        let (same, others): (Vec<_>, Vec<_>) = tokens
            .partition(|token| self.entries[token].record.incarnation() == instance.incarnation);
        (same.first().copied(), others)
    }

    fn is_replaced(&self, instance: &Instance) -> bool {
        let (_, others) = self.siblings(instance);
        others
            .iter()
            .any(|other| self.entries[other].replaced.contains(&instance.incarnation))
    }

    fn refuse(&self, instance: &Instance) -> Error {
        let error = if self.is_replaced(instance) {
            Error::new(
                ErrorKind::Superseded,
                format!("a newer incarnation than {instance} holds the name"),
            )
        } else {
            Error::new(
                ErrorKind::LeaseLost,
                format!("{instance} is no longer registered"),
            )
        };
        self.observer.refused(instance, error.kind());
        error
    }

    /// Removes a registration and tells it; returns its incarnation and those it had replaced.
    fn remove(&mut self, token: FencingToken, reason: RemovalReason) -> Vec<Incarnation> {
        let Some(entry) = self.take_out(token) else {
            return Vec::new();
        };
        let instance = entry.record.instance.clone();
        self.observer.removed(&instance, reason);
        self.tell(Change::Removed { instance, reason });
        let mut replaced = entry.replaced;
        replaced.push(entry.record.incarnation());
        replaced
    }

    fn put_in(&mut self, token: FencingToken, entry: Entry) {
        self.by_agent
            .entry(key(&entry.record.instance))
            .or_default()
            .push(token);
        for capability in entry.record.capabilities.iter() {
            self.by_capability
                .entry(capability.name.clone())
                .or_default()
                .insert(token);
        }
        self.deadlines.insert((entry.deadline, token));
        self.entries.insert(token, entry);
    }

    fn take_out(&mut self, token: FencingToken) -> Option<Entry> {
        let entry = self.entries.remove(&token)?;
        self.deadlines.remove(&(entry.deadline, token));
        let key = key(&entry.record.instance);
        if let Some(tokens) = self.by_agent.get_mut(&key) {
            tokens.retain(|other| *other != token);
            if tokens.is_empty() {
                self.by_agent.remove(&key);
            }
        }
        for capability in entry.record.capabilities.iter() {
            if let Some(tokens) = self.by_capability.get_mut(&capability.name) {
                tokens.remove(&token);
                if tokens.is_empty() {
                    self.by_capability.remove(&capability.name);
                }
            }
        }
        Some(entry)
    }

    fn tell(&mut self, change: Change) {
        self.sequence += 1;
        // Fails only if nobody watches.
        let _ = self.changes.send(Event {
            sequence: self.sequence,
            change,
        });
    }
}

fn key(instance: &Instance) -> AgentKey {
    (instance.tenant.clone(), instance.agent.clone())
}

/// Returns the entry of a registration, if it is the one that counts.
fn live<'a>(
    entries: &'a mut BTreeMap<FencingToken, Entry>,
    of: &Registration,
) -> Option<&'a mut Entry> {
    entries
        .get_mut(&of.token)
        .filter(|entry| entry.record.instance == of.instance)
}
