//! Requests that nobody waits for any more: whoever works on them stops, and what waits is not begun.

use std::time::Duration;

use coditect_core::Error;
use coditect_core::prelude::*;
use tokio::time::sleep;

use crate::stage::{Gate, Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

#[tokio::test(start_paused = true)]
async fn the_handler_is_told_to_stop_and_what_waits_behind_it_does_not_begin() -> Result<(), Error>
{
    let (gate, notes) = (Gate::new(), Notes::new());
    let (held, noted) = (gate.clone(), notes.clone());
    let work = move |context: TaskContext, x: u64| {
        let (gate, notes) = (held.clone(), noted.clone());
        async move {
            notes.push(format!("{x} begins"));
            tokio::select! {
                () = gate.pass() => Ok(x),
                () = context.cancelled() => {
                    notes.push(format!("{x} is told to stop"));
                    Err(AgentError::retryable("told to stop"))
                }
            }
        }
    };
    let shared = Shared::new();
    let one = agent("work", work).with_concurrency(1);
    let worker = shared.runtime().worker_only().agent(one).start().await?;
    let asker = shared.runtime().worker_only().start().await?;
    let ask = |x| tokio::spawn(asker.request(&WORK, x).into_future());
    let first = ask(1);
    gate.arrived(1).await;
    let second = ask(2);
    // It is published, and waits for the slot.
    sleep(Duration::from_millis(100)).await;
    second.abort();
    sleep(Duration::from_millis(100)).await;
    first.abort();
    let third = ask(3);
    gate.arrived(1).await;
    gate.open(1);
    assert_eq!(within(third).await.expect("no panic")?, 3);
    assert_eq!(notes.all(), ["1 begins", "1 is told to stop", "3 begins"]);
    asker.shutdown().await?;
    worker.shutdown().await
}
