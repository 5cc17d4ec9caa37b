//! Refusing new runs while too many wait: decided before anything is written down.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coditect_bus::Priority;
use coditect_dag::RunId;
use coditect_resilience::SheddingPolicy;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use tokio::time::Instant;

use crate::error::Error;

/// For how long a run counts as waiting that was accepted, and that no owner of this process has taken up: it may belong to
/// another process.
const UNSEEN: Duration = Duration::from_secs(1);
/// After how long to try again where the limit is just reached; longer the more it is passed.
const AGAIN: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);

/// How many runs wait in this process, and how many may before others are refused.
#[derive(Debug)]
pub(crate) struct Admission {
    limit: u32,
    shedding: SheddingPolicy,
    /// Runs with tasks ready that nobody takes, in all partitions that are owned here.
    waiting: AtomicUsize,
    unseen: Mutex<Unseen>,
}

/// Runs that were let in, and are not among those that wait yet.
#[derive(Debug, Default)]
struct Unseen {
    runs: FxHashSet<RunId>,
    /// The same and those that were seen since, by when they were let in.
    order: VecDeque<(Instant, RunId)>,
}

/// The runs that wait for one owner; none of them do when it is dropped.
#[derive(Debug)]
pub(crate) struct Backlog {
    admission: Option<Arc<Admission>>,
    waiting: usize,
    /// Runs that were taken up since the last count.
    taken_up: Vec<RunId>,
}

impl Admission {
    pub(crate) fn new(limit: u32, shedding: SheddingPolicy) -> Self {
        Self {
            limit,
            shedding,
            waiting: AtomicUsize::new(0),
            unseen: Mutex::default(),
        }
    }

    /// Lets a run in if there is room for its priority.
    pub(super) fn admit(&self, run: RunId, priority: Priority) -> Result<(), Error> {
        let room = u8::try_from(priority.index()).unwrap_or(u8::MAX);
        let room = self.shedding.room(room, self.limit) as usize;
        let mut unseen = self.unseen.lock();
        let now = Instant::now();
        unseen.forget_before(now);
        let waiting = self.waiting.load(Ordering::Relaxed) + unseen.runs.len();
        if waiting >= room {
            drop(unseen);
            let over = waiting as f64 / room as f64;
            let after = AGAIN.mul_f64(over.min(LATEST.as_secs_f64())).min(LATEST);
            let text = format!(
                "{waiting} runs wait for agents here, and one of priority {priority:?} is taken while there are less \
                 than {room}; try again in {} ms",
                after.as_millis()
            );
            return Err(Error::overloaded(text, after));
        }
        unseen.runs.insert(run);
        unseen.order.push_back((now, run));
        Ok(())
    }

    /// A run that was let in has been taken up, or was not accepted in the end.
    pub(super) fn seen(&self, run: RunId) {
        self.unseen.lock().runs.remove(&run);
    }
}

impl Unseen {
    fn forget_before(&mut self, now: Instant) {
        while let Some((at, run)) = self.order.front() {
            if self.runs.contains(run) && now.saturating_duration_since(*at) < UNSEEN {
                break;
            }
            self.runs.remove(run);
            self.order.pop_front();
        }
    }
}

impl Backlog {
    pub(crate) const fn new(admission: Option<Arc<Admission>>) -> Self {
        Self {
            admission,
            waiting: 0,
            taken_up: Vec::new(),
        }
    }

    /// The owner has taken a run up, which is among those that wait from the next count on.
    pub(crate) fn taken_up(&mut self, run: RunId) {
        if self.admission.is_some() {
            self.taken_up.push(run);
        }
    }

    /// So many runs wait for the owner now.
    pub(crate) fn set(&mut self, waiting: impl FnOnce() -> usize) {
        let Some(admission) = &self.admission else {
            return;
        };
        let before = std::mem::replace(&mut self.waiting, waiting());
        if self.waiting >= before {
            let more = self.waiting - before;
            admission.waiting.fetch_add(more, Ordering::Relaxed);
        } else {
            let less = before - self.waiting;
            admission.waiting.fetch_sub(less, Ordering::Relaxed);
        }
        for run in self.taken_up.drain(..) {
            admission.seen(run);
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.set(|| 0);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn admission(limit: u32) -> Arc<Admission> {
        Arc::new(Admission::new(limit, SheddingPolicy::default()))
    }

    fn admitted(admission: &Admission, priority: Priority) -> usize {
        std::iter::repeat_with(|| admission.admit(RunId::new(), priority))
            .take_while(Result::is_ok)
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_lowest_priority_is_refused_first_and_is_told_when_to_come_again() {
        let admission = admission(100);
        assert_eq!(admitted(&admission, Priority::P2), 50);
        assert_eq!(admitted(&admission, Priority::P1), 30);
        assert_eq!(admitted(&admission, Priority::P0), 20);
        let refused = admission.admit(RunId::new(), Priority::P2).unwrap_err();
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(2)));
        assert_eq!(
            refused.to_string(),
            "100 runs wait for agents here, and one of priority P2 is taken while there are less than 50; \
             try again in 2000 ms"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_belongs_to_others_counts_for_a_second_only() {
        let admission = admission(10);
        assert_eq!(admitted(&admission, Priority::P0), 10);
        advance(UNSEEN).await;
        assert_eq!(admitted(&admission, Priority::P0), 10);
        assert_eq!(admission.unseen.lock().order.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_up_counts_while_it_waits() {
        let admission = admission(10);
        let mut one = Backlog::new(Some(Arc::clone(&admission)));
        let mut other = Backlog::new(Some(Arc::clone(&admission)));
        let run = RunId::new();
        admission.admit(run, Priority::P0).unwrap();
        one.taken_up(run);
        one.set(|| 6);
        other.set(|| 3);
        assert_eq!(admitted(&admission, Priority::P0), 1);
        one.set(|| 4);
        assert_eq!(admitted(&admission, Priority::P0), 2);
        drop(one);
        assert_eq!(admitted(&admission, Priority::P0), 4);
    }
}
