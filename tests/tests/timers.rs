//! What is to happen later: runs that wait for their start, and schedules.

#[path = "timers/overlap.rs"]
mod overlap;
#[path = "timers/recurring.rs"]
mod recurring;
#[path = "timers/several.rs"]
mod several;
#[path = "timers/start.rs"]
mod start;
#[path = "timers/stores.rs"]
mod stores;
#[path = "timers/survive.rs"]
mod survive;

mod stage;

use std::time::{Duration, SystemTime};

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, RuntimeBuilder};
use stage::Notes;
use tokio::time::Instant;

const NOTE: Call<u64, u64> = Call::new("note");
const HOUR: Duration = Duration::from_secs(3_600);

/// Awaits what must end, in real time: files and servers know no other.
async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

/// Awaits what must end, in paused time, however long it waits.
async fn within<F: Future>(future: F) -> F::Output {
    let limit = 24 * 365 * HOUR;
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

/// An agent that notes what it is given.
fn note(notes: &Notes<u64>) -> impl Agent + use<> {
    let notes = notes.clone();
    agent("note", move |x: u64| {
        notes.push(x);
        async move { Ok::<_, AgentError>(x) }
    })
}

/// A wall clock that follows paused time, for all runtimes of a test.
#[derive(Clone, Copy)]
struct Wall {
    origin: SystemTime,
    started: Instant,
}

impl Wall {
    fn new() -> Self {
        Self {
            origin: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            started: Instant::now(),
        }
    }

    fn now(&self) -> SystemTime {
        self.origin + self.started.elapsed()
    }

    /// Lets the clock of a runtime that is started now show the same.
    fn set(&self, builder: RuntimeBuilder, seed: u64) -> RuntimeBuilder {
        builder.simulated(seed, self.now())
    }
}

/// Starts a runtime once the one before has let go of the file.
async fn again(make: impl Fn() -> RuntimeBuilder) -> Result<Runtime, Error> {
    let started = async {
        loop {
            match make().start().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::task::yield_now().await;
                }
                started => return started,
            }
        }
    };
    soon(started).await
}
