//! Requests in the process of an agent that takes no work: it drains, or a newer start has replaced it.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::Health;
use coditect_core::{Error, ErrorKind};
use tokio::time::sleep;

use crate::stage::{Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

fn noted_by(
    name: &'static str,
    notes: &Notes<&'static str>,
) -> impl Fn(u64) -> std::future::Ready<Result<u64, AgentError>> + Send + Sync + 'static {
    let notes = notes.clone();
    move |x: u64| {
        notes.push(name);
        std::future::ready(Ok(x))
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_drains_is_not_asked_by_its_own_process() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let here = agent("work", noted_by("here", &notes)).with_name("here");
    let here = shared.runtime().agent(here).start().await?;
    let there = agent("work", noted_by("there", &notes)).with_name("there");
    let there = shared.runtime().worker_only().agent(there).start().await?;
    while here.agents().len() < 2 {
        within(here.agents().changed()).await;
    }
    here.report_health("here", Health::Draining, "the model is loading")?;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(within(here.request(&WORK, 1).into_future()).await?, 1);
    assert_eq!(notes.all(), ["there"]);
    there.shutdown().await?;
    sleep(Duration::from_secs(60)).await;
    let nobody = here.request(&WORK, 2).deadline(Duration::from_secs(5));
    let nobody = within(nobody.into_future()).await;
    assert_eq!(notes.all(), ["there"]);
    assert!(nobody.is_err());
    here.report_health("here", Health::Ready, None)?;
    assert_eq!(within(here.request(&WORK, 3).into_future()).await?, 3);
    here.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn one_that_was_replaced_is_not_asked_by_its_own_process() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let older = agent("work", noted_by("older", &notes)).with_exclusive();
    let older = shared.runtime().agent(older).start().await?;
    let newer = agent("work", noted_by("newer", &notes)).with_exclusive();
    let newer = shared.runtime().worker_only().agent(newer).start().await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(within(older.run(&WORK, 1)).await?, 1);
    assert_eq!(notes.all(), ["newer"]);
    assert_eq!(within(older.request(&WORK, 2).into_future()).await?, 2);
    assert_eq!(notes.all(), ["newer", "newer"]);
    newer.shutdown().await?;
    sleep(Duration::from_secs(60)).await;
    let nobody = older.request(&WORK, 3).deadline(Duration::from_secs(5));
    let nobody = within(nobody.into_future())
        .await
        .expect_err("nobody is there");
    assert_eq!(nobody.kind(), ErrorKind::Unavailable);
    older.shutdown().await
}
