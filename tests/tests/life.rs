//! The life of a run: held up, resumed, signalled, approved, given another chance, across restarts.

#[path = "life/child.rs"]
mod child;
#[path = "life/patch.rs"]
mod patch;
#[path = "life/pause.rs"]
mod pause;
#[path = "life/restart.rs"]
mod restart;
#[path = "life/retry.rs"]
mod retry;
#[path = "life/signal.rs"]
mod signal;

mod stage;

use coditect_core::prelude::*;
use coditect_core::{Error, EventStream};
use stage::within;

/// Reads events until one is of the kind that is waited for.
async fn until(
    events: &mut EventStream,
    wanted: impl Fn(&RunEventKind) -> bool,
) -> Result<RunEventKind, Error> {
    loop {
        let event = within(events.next()).await?.expect("the run goes on");
        if wanted(&event.kind) {
            return Ok(event.kind);
        }
    }
}
