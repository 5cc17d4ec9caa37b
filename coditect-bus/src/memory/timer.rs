//! The clock of a memory bus: one task that wakes queues when delays or expiries are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::queue::Queue;

#[derive(Debug, Default)]
pub(super) struct Timer {
    /// What the wall clock showed at an instant, where it is to follow tokio's time.
    wall: Option<(SystemTime, Instant)>,
    state: Mutex<State>,
    earlier: Notify,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    alarms: BinaryHeap<Reverse<Alarm>>,
    sequence: u64,
    /// Runs from the first alarm on; a bus that never delays or expires has no task.
    task: Option<JoinHandle<()>>,
}

impl Timer {
    /// Makes a timer whose wall clock is the system's, or shows `wall` now and follows tokio's time.
    pub(super) fn new(wall: Option<SystemTime>) -> Self {
        Self {
            wall: wall.map(|wall| (wall, Instant::now())),
            ..Self::default()
        }
    }

    /// How long it is until the wall clock shows `at`; zero if it has passed.
    pub(super) fn until(&self, at: SystemTime) -> Duration {
        let now = match self.wall {
            Some((wall, since)) => wall + since.elapsed(),
            None => SystemTime::now(),
        };
        at.duration_since(now).unwrap_or_default()
    }

    /// Sees to it that `queue` advances at `at`.
    pub(super) fn schedule(self: &Arc<Self>, at: Instant, queue: Weak<Queue>) {
        let mut state = self.state.lock();
        let is_earliest = state
            .alarms
            .peek()
            .is_none_or(|Reverse(first)| at < first.at);
        state.sequence += 1;
        let sequence = state.sequence;
        state.alarms.push(Reverse(Alarm {
            at,
            sequence,
            queue,
        }));
        if self.stop.is_cancelled() {
            return;
        }
        // The task ends with its runtime; a bus that outlives one goes on in the next. Without any runtime, as when a delivery
        // is dropped after its end, the alarm waits: consumers look at the time themselves.
        if state.task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            state.task = Some(runtime.spawn(Arc::clone(self).run()));
        }
        drop(state);
        if is_earliest {
            self.earlier.notify_one();
        }
    }

    /// Ends the task at its next turn.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends the task and waits until it has ended.
    pub(super) async fn stopped(&self) {
        self.stop();
        let task = self.state.lock().task.take();
        if let Some(task) = task {
            // It neither panics nor is it aborted but by the end of its runtime, and then there is nothing to wait for.
            let _ = task.await;
        }
    }

    async fn run(self: Arc<Self>) {
        loop {
            let next = self
                .state
                .lock()
                .alarms
                .peek()
                .map(|Reverse(alarm)| alarm.at);
            let alarm = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.earlier.notified() => {}
                () = alarm => self.ring(),
            }
        }
    }

    fn ring(self: &Arc<Self>) {
        let now = Instant::now();
        while let Some(queue) = self.pop_due(now) {
            if let Some(queue) = queue.upgrade() {
                queue.ring();
            }
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Weak<Queue>> {
        let mut state = self.state.lock();
        if state
            .alarms
            .peek()
            .is_some_and(|Reverse(alarm)| alarm.at <= now)
        {
            return state.alarms.pop().map(|Reverse(alarm)| alarm.queue);
        }
        None
    }
}

#[derive(Debug)]
struct Alarm {
    at: Instant,
    sequence: u64,
    queue: Weak<Queue>,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
