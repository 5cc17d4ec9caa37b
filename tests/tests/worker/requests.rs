//! Requests: who answers them, and who tells their handlers to stop.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind};

use crate::stage::{Count, Gate, Shared, within};

const ASK: Call<u64, u64> = Call::new("ask");

/// Waits until it is told to stop, and counts that.
fn stubborn(here: &Gate, stops: &Count) -> impl Agent {
    let (here, stops) = (here.clone(), stops.clone());
    agent("ask", move |context: TaskContext, number: u64| {
        let (here, stops) = (here.clone(), stops.clone());
        async move {
            let passing = here.pass();
            tokio::select! {
                () = context.cancelled() => { stops.add(); }
                () = passing => {}
            }
            Ok::<_, AgentError>(number)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_and_goes_away_takes_the_handler_along() -> Result<(), Error> {
    let (here, stops) = (Gate::new(), Count::default());
    let runtime = Runtime::builder().agent(stubborn(&here, &stops));
    let runtime = runtime.start().await?;
    let mut asked = runtime.request(&ASK, 1).into_future();
    assert!(futures::poll!(&mut asked).is_pending());
    here.arrived(1).await;
    drop(asked);
    let began = tokio::time::Instant::now();
    runtime.shutdown().await?;
    assert_eq!(stops.get(), 1);
    assert!(began.elapsed() < Duration::from_secs(1), "at once");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_process_tells_the_handlers_of_requests() -> Result<(), Error> {
    for remote in [false, true] {
        let shared = Shared::new();
        let (here, stops) = (Gate::new(), Count::default());
        let builder = shared.runtime().agent(stubborn(&here, &stops));
        let builder = builder.drain_limit(Duration::from_millis(300));
        let answers = builder.start().await?;
        let other = shared.runtime().worker_only().start().await?;
        let asker = if remote { &other } else { &answers };
        let mut asked = asker.request(&ASK, 1).into_future();
        assert!(futures::poll!(&mut asked).is_pending());
        let (answer, ()) = tokio::join!(within(asked), async {
            here.arrived(1).await;
            answers.shutdown().await.expect_err("it had to be told");
        });
        assert_eq!(answer?, 1);
        assert_eq!(stops.get(), 1, "remote: {remote}");
        other.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_by_a_version_that_was_asked_for() -> Result<(), Error> {
    let shared = Shared::new();
    let version = |version: &'static str| {
        let capability = format!("version@{version}");
        let answers = move |(): ()| async move { Ok::<_, AgentError>(version.to_owned()) };
        let builder = shared.runtime().worker_only();
        builder.agent(agent(capability, answers)).start()
    };
    let old = version("1.0.0").await?;
    let new = version("1.5.0").await?;
    let asks = shared.runtime().start().await?;
    let call: Call<(), String> = call("version@^1.5");
    for _ in 0..20 {
        assert_eq!(asks.request(&call, ()).await?, "1.5.0");
    }
    new.shutdown().await?;
    // The registry may not have told yet that the right version has gone.
    let asked = asks.request(&call, ()).deadline(Duration::from_secs(60));
    let kind = asked.await.unwrap_err().kind();
    assert!(matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded
    ));
    old.shutdown().await?;
    asks.shutdown().await
}
