//! Whom to ask when, and what to conclude: the pure part of the checker; time and random numbers are handed in.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, CheckPolicy, Finding};
use crate::Instance;
use crate::deadlines::Deadlines;
use crate::selector::scale;

/// Keeps the counts of every instance and the time of its next probe.
#[derive(Debug)]
pub(super) struct Rounds {
    policy: CheckPolicy,
    instances: HashMap<Instance, Pulse>,
    due: Deadlines,
    /// How many are being asked, or judged for their answer.
    busy: usize,
    /// How many are held to be evicted.
    evicted: usize,
}

/// How an instance has answered lately.
#[derive(Debug, Default)]
struct Pulse {
    /// How many probes it has missed in a row.
    missed: u32,
    /// How many it has answered in a row.
    answered: u32,
    busy: bool,
    /// What is held against it, as of the last report of the view or the last conclusion.
    found: Option<Finding>,
}

/// What is to be held against an instance from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conclusion {
    before: Option<Finding>,
    pub(super) finding: Option<Finding>,
    pub(super) reason: String,
}

impl Rounds {
    pub(super) fn new(policy: CheckPolicy) -> Self {
        Self {
            policy,
            instances: HashMap::new(),
            due: Deadlines::default(),
            busy: 0,
            evicted: 0,
        }
    }

    /// Takes over who is there and what is held against them. Who is new is asked at a random time within the first
    /// interval, so that a checker that starts does not ask all at once.
    pub(super) fn look<'a>(
        &mut self,
        there: impl Iterator<Item = (&'a Instance, Option<Finding>)>,
        now: Instant,
        mut random: impl FnMut() -> u64,
    ) {
        let mut before = std::mem::take(&mut self.instances);
        for (instance, found) in there {
            let mut pulse = before.remove(instance).unwrap_or_else(|| {
                let wait = fraction(self.policy.interval, random());
                self.due.set(instance, now + wait);
                Pulse::default()
            });
            // While its verdict is being set, the view may lag behind.
            if !pulse.busy {
                pulse.found = found;
            }
            self.instances.insert(instance.clone(), pulse);
        }
        for (gone, pulse) in before {
            self.due.clear(&gone);
            self.busy -= usize::from(pulse.busy);
        }
        let pulses = self.instances.values();
        self.evicted = pulses.filter(|pulse| pulse.is_evicted()).count();
    }

    /// Returns when the next one is to be asked; `None` while there is nobody, or as many are being asked as may be.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due
            .next()
            .filter(|_| self.busy < self.policy.concurrency)
    }

    /// Takes one who is to be asked now; [`finish`](Self::finish) says when that is over.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instance> {
        if self.busy >= self.policy.concurrency {
            return None;
        }
        let instance = self.due.pop(now)?;
        self.instances.get_mut(&instance)?.busy = true;
        self.busy += 1;
        Some(instance)
    }

    /// Concludes from an answer; `None` if what is held against the instance stays as it is.
    pub(super) fn conclude(&mut self, instance: &Instance, answer: &Answer) -> Option<Conclusion> {
        let allowed = self.policy.allows(self.evicted, self.instances.len());
        let pulse = self.instances.get_mut(instance)?;
        pulse.count(answer);
        let finding = pulse.finding(&self.policy, allowed);
        if finding == pulse.found {
            return None;
        }
        let reason = match answer {
            Answer::Missed(how) => format!("{} probes missed in a row: {how}", pulse.missed),
            _ => format!("{} probes answered in a row", pulse.answered),
        };
        let before = pulse.found;
        self.set_found(instance, finding);
        Some(Conclusion {
            before,
            finding,
            reason,
        })
    }

    /// Takes a conclusion back that came to nothing: the next answer leads to it again.
    pub(super) fn revoke(&mut self, instance: &Instance, conclusion: &Conclusion) {
        self.set_found(instance, conclusion.before);
    }

    /// Lets an instance wait for its next probe.
    pub(super) fn finish(&mut self, instance: &Instance, now: Instant, random: u64) {
        let Some(pulse) = self.instances.get_mut(instance) else {
            return;
        };
        if !std::mem::take(&mut pulse.busy) {
            return;
        }
        self.busy -= 1;
        // Three to five quarters of the interval.
        let interval = self.policy.interval;
        let wait = interval * 3 / 4 + fraction(interval / 2, random);
        self.due.set(instance, now + wait);
    }

    fn set_found(&mut self, instance: &Instance, found: Option<Finding>) {
        if let Some(pulse) = self.instances.get_mut(instance) {
            self.evicted -= usize::from(pulse.is_evicted());
            pulse.found = found;
            self.evicted += usize::from(pulse.is_evicted());
        }
    }
}

impl Pulse {
    fn is_evicted(&self) -> bool {
        self.found == Some(Finding::Evicted)
    }

    fn count(&mut self, answer: &Answer) {
        match answer {
            Answer::Alive => {
                self.missed = 0;
                self.answered = self.answered.saturating_add(1);
            }
            Answer::Missed(_) => {
                self.answered = 0;
                self.missed = self.missed.saturating_add(1);
            }
            Answer::Unasked(_) => {}
        }
    }

    fn finding(&self, policy: &CheckPolicy, may_evict: bool) -> Option<Finding> {
        if self.answered >= policy.restore_after {
            return None;
        }
        // One who is evicted already needs no leave to stay so.
        let may_evict = may_evict || self.is_evicted();
        match self.missed {
            missed if missed >= policy.evict_after && may_evict => Some(Finding::Evicted),
            missed if missed >= policy.degrade_after => self.found.or(Some(Finding::Degraded)),
            _ => self.found,
        }
    }
}

/// Draws a time from zero to `whole`.
fn fraction(whole: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(scale(random, nanos))
}

#[cfg(test)]
mod tests;
