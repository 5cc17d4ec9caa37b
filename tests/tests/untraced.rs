//! One run is one trace where nobody records it: what is recorded elsewhere must not get in the way, so
//! that this test has a process of its own.

use coditect_core::Error;
use coditect_core::telemetry::TraceContext;

use crate::agents::{EVERYWHERE, PAIR, runtime};
use crate::stage::{Notes, within};

#[path = "trace/agents.rs"]
mod agents;
mod stage;

#[tokio::test(start_paused = true)]
async fn a_run_is_one_trace_even_where_nobody_records_it() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let seen = Notes::new();
        let runtime = runtime(dispatch, &seen).await?;
        let trace = TraceContext::generate();
        let run = runtime.submit(&PAIR, ()).trace(trace.clone()).await?;
        assert_eq!(within(run.result()).await?, (1, 2));
        let seen = seen.all();
        assert_eq!(seen.len(), 5);
        for context in seen {
            let context = context.expect("handlers are told the trace");
            assert_eq!(context.trace_id(), trace.trace_id());
        }
        runtime.shutdown().await?;
    }
    Ok(())
}
