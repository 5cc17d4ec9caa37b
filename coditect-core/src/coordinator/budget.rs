//! Retries within the budget of their capability: those beyond it wait until successes or time pay for them.

use std::collections::VecDeque;
use std::sync::Arc;

use coditect_dag::{Class, RunId, TaskId, Timestamp};
use coditect_registry::CapabilityName;
use coditect_resilience::{BudgetPolicy, RetryBudget};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::owner::Owner;

/// The retry budgets of a process, which its owners share.
pub(crate) struct Budgets {
    named: FxHashMap<CapabilityName, Option<BudgetPolicy>>,
    opened: Mutex<FxHashMap<CapabilityName, Arc<RetryBudget>>>,
}

/// What every capability has of which nothing is said.
///
/// A retry for each success holds none up as long as not more than every second call fails, which is where a breaker opens.
/// Where nothing succeeds, ten a second find out that something does again.
fn usual_budget() -> BudgetPolicy {
    let policy = BudgetPolicy::new(1.0, 100).expect("the share and the capacity are in range");
    policy.with_reserve_per_second(10)
}

impl Budgets {
    pub(crate) fn new(named: FxHashMap<CapabilityName, Option<BudgetPolicy>>) -> Self {
        Self {
            named,
            opened: Mutex::default(),
        }
    }

    /// The budget of a capability, in all its versions; none where retries are not limited.
    pub(super) fn budget(&self, capability: &CapabilityName) -> Option<Arc<RetryBudget>> {
        let named = self.named.get(capability).copied();
        let policy = named.unwrap_or_else(|| Some(usual_budget()))?;
        let mut opened = self.opened.lock();
        let budget = opened
            .entry(capability.clone())
            .or_insert_with(|| Arc::new(RetryBudget::new(policy)));
        Some(Arc::clone(budget))
    }
}

/// Retries that wait for their budget, by capability, the first that was due first.
#[derive(Default)]
pub(super) struct Parked {
    waiting: FxHashMap<Class, VecDeque<(RunId, TaskId)>>,
    /// When time has paid for one of them.
    pub(super) next: Option<Timestamp>,
}

impl Parked {
    /// Forgets everything, once the numbers of capabilities mean something else.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The end of a backoff that waits for the budget.
const NOT_PAID: Timestamp = Timestamp::MAX;

impl Owner {
    /// Parks the retries of a run that are due and that the budget does not pay for now, but for one that was paid for.
    pub(super) fn hold_back(&mut self, run: RunId, paid: Option<TaskId>) {
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        let scheduler = active.machine.scheduler();
        let due = scheduler.due(self.now);
        // What was put off for another reason is no retry.
        let retries = due.filter(|task| Some(*task) != paid && scheduler.failures(*task) > 0);
        for task in retries.collect::<Vec<_>>() {
            let class = active.machine.class(task);
            let Some(budget) = &self.classes.get(class).budget else {
                continue;
            };
            let waiting = self.parked.waiting.get(&class);
            if waiting.is_none_or(VecDeque::is_empty) && budget.withdraw() {
                continue;
            }
            active.machine.put_off(task, NOT_PAID);
            let waiting = self.parked.waiting.entry(class).or_default();
            waiting.push_back((run, task));
            self.parked.next = Some(self.now);
        }
    }

    /// Takes in that a call of a capability succeeded.
    pub(super) fn pay_in(&mut self, class: Class) {
        if let Some(budget) = &self.classes.get(class).budget {
            budget.deposit();
            if self.parked.waiting.contains_key(&class) {
                self.parked.next = Some(self.now);
            }
        }
    }

    /// Lets those parked retries go that are paid for by now.
    pub(super) fn pay_out(&mut self) {
        if self.parked.next.is_none_or(|next| next > self.now) {
            return;
        }
        self.parked.next = None;
        let classes: Vec<_> = self.parked.waiting.keys().copied().collect();
        for class in classes {
            let Some(mut waiting) = self.parked.waiting.remove(&class) else {
                continue;
            };
            self.pay_out_of(class, &mut waiting);
            // Others of a run that one was let go of may have been due with it.
            waiting.extend(self.parked.waiting.remove(&class).unwrap_or_default());
            if !waiting.is_empty() {
                self.parked.waiting.insert(class, waiting);
            }
        }
    }

    fn pay_out_of(&mut self, class: Class, waiting: &mut VecDeque<(RunId, TaskId)>) {
        let Some(budget) = self.classes.get(class).budget.clone() else {
            return;
        };
        while let Some((run, task)) = waiting.front().copied() {
            let active = self.runs.get_mut(&run);
            let parked =
                active.filter(|active| active.machine.scheduler().wake_at(task) == Some(NOT_PAID));
            // It was cancelled, or its deadline has passed.
            let Some(active) = parked else {
                waiting.pop_front();
                continue;
            };
            if !budget.withdraw() {
                let next = budget.next_in().map(|span| self.now.saturating_add(span));
                self.parked.next = self.parked.next.into_iter().chain(next).min();
                return;
            }
            waiting.pop_front();
            active.machine.put_off(task, self.now);
            self.backoffs(run, Some(task));
        }
    }
}
