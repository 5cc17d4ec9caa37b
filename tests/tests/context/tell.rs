//! Progress on its way to those who follow a run.

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error};

use crate::stage::{Gate, within};

const WORK: Call<u64, u64> = Call::new("work");

#[tokio::test(start_paused = true)]
async fn progress_arrives_in_order_while_the_task_runs() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalOnly, Dispatch::Bus] {
        let (begin, end) = (Gate::new(), Gate::new());
        let (first, last) = (begin.clone(), end.clone());
        let work = move |context: TaskContext, x: u64| {
            let (begin, end) = (first.clone(), last.clone());
            async move {
                begin.pass().await;
                context.progress(0.25, "a quarter");
                context.progress(7.0, "more than all");
                end.pass().await;
                Ok::<_, AgentError>(x)
            }
        };
        let runtime = Runtime::builder()
            .agent(agent("work", work))
            .dispatch(dispatch)
            .start()
            .await?;
        let run = runtime.submit(&WORK, 1).await?;
        let other = runtime.submit(&WORK, 2).await?;
        let mut events = run.events().await?;
        begin.arrived(2).await;
        begin.open(2);
        let mut told = Vec::new();
        while told.len() < 2 {
            let event = within(events.next()).await?.expect("the run goes on");
            if let RunEventKind::Progress(info, progress) = event.kind {
                assert_eq!(progress.run, run.id(), "what others do is not told here");
                assert_eq!(info.path, "work");
                told.push((progress.fraction, progress.message));
            }
        }
        assert_eq!(
            told,
            [
                (0.25, "a quarter".to_owned()),
                (1.0, "more than all".to_owned())
            ]
        );
        end.open(2);
        assert_eq!(within(run.result()).await?, 1);
        within(other.result()).await?;
        runtime.shutdown().await?;
    }
    Ok(())
}
