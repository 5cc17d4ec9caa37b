//! Parents that wait for children while there is but one slot.

use coditect_core::Error;
use coditect_core::prelude::*;

use crate::stage::{Shared, within};

const NEST: Call<u64, u64> = Call::new("nest");

#[tokio::test(start_paused = true)]
async fn a_parent_waits_for_its_child_with_every_slot_taken() -> Result<(), Error> {
    // Each asks another of its own kind, down to nothing, and all have one slot together.
    let nest = async |context: TaskContext, depth: u64| match depth {
        0 => Ok::<_, AgentError>(1),
        depth => Ok(1 + context.request("below", &NEST, depth - 1).await?),
    };
    let shared = Shared::new();
    let nest = agent("nest", nest).with_concurrency(1);
    let runtime = shared.runtime().agent(nest).start().await?;
    assert_eq!(within(runtime.run(&NEST, 9)).await?, 10);
    runtime.shutdown().await
}
