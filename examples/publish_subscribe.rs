//! Publish and subscribe: telling all who listen, each at its own pace.
//!
//! ```sh
//! cargo run -p coditect-examples --example publish_subscribe -- [--bus amqp://…]
//! ```
//!
//! A build server tells what becomes of its builds, under topics such as `build.web.failed`. Three kinds of subscribers
//! listen, and the build server knows none of them:
//!
//! - a dashboard, which wants everything (`build.#`);
//! - two mailers of one group, which share the failures (`build.*.failed`) between them, so that each failure is mailed
//!   once;
//! - an archive, which has room for two messages and reads nothing until the day is over. It holds nobody up: what is
//!   more than it has room for is set aside as its dead letters, and when it is ready, it takes these back too.
//!
//! ```text
//! published 6 builds, nobody was waited for
//! dashboard: 6 builds, 2 failed
//! mailers: mailed web #2, web #5, each once
//! archive: what it had no room for was set aside (overflow)
//! archive: caught up with 6 builds
//! nobody listens to deploy.web.done
//! ```
//!
//! With `--bus` the same goes over RabbitMQ. There publishers and subscribers may be different processes. A group outlives its members: it
//! collects while none of them is there. A subscriber without a group, such as the dashboard, gets what is published
//! while it is connected.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use coditect_core::bus::{
    DeadLetterFilter, DeadLetterReason, Destination, GroupName, MessageBus, MessageBusExt, Page,
    QueueName, Received, Subscription, Topic, TypedConsumer,
};
use coditect_core::prelude::*;
use coditect_examples::say;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What the archive reads ahead of its work, where the broker would send more.
const ONE: NonZeroUsize = NonZeroUsize::MIN;
const A_MOMENT: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Build {
    project: String,
    number: u32,
    passed: bool,
}

const BUILDS: [(&str, u32, bool); 6] = [
    ("web", 1, true),
    ("web", 2, false),
    ("api", 3, true),
    ("api", 4, true),
    ("web", 5, false),
    ("web", 6, true),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A runtime without agents is a bus, a registry and a state store.
    let url = coditect_examples::bus::from_arguments();
    let runtime = Runtime::builder().bus(url.as_str()).start().await;
    let runtime = runtime.map_err(|error| url.explain(error))?;
    let bus = runtime.bus();

    let everything = || Ok::<_, anyhow::Error>(Subscription::topic("build.#".parse()?));
    let dashboard = bus.consume::<Build>(everything()?).await?;
    let few = NonZeroUsize::new(2).context("two is not zero")?;
    let mut archive = bus
        .consume::<Build>(everything()?.with_capacity(few).with_prefetch(ONE))
        .await?;

    let (mailed, mut mails) = mpsc::channel(BUILDS.len());
    let mut mailers = JoinSet::new();
    for _ in 0..2 {
        let failures =
            Subscription::topic("build.*.failed".parse()?).with_group(GroupName::new("mail")?);
        mailers.spawn(mail(bus.consume(failures).await?, mailed.clone()));
    }
    let watching = tokio::spawn(watch(dashboard));

    for (project, number, passed) in BUILDS {
        let build = Build {
            project: project.to_owned(),
            number,
            passed,
        };
        let topic = format!(
            "build.{project}.{}",
            if passed { "passed" } else { "failed" }
        );
        bus.broadcast(&Destination::Topic(topic.parse()?), &build)
            .await?;
    }
    say!("published {} builds, nobody was waited for", BUILDS.len());

    let seen = watching.await??;
    let failed = seen.iter().filter(|build| !build.passed).count();
    say!("dashboard: {} builds, {failed} failed", seen.len());

    let mut told = Vec::new();
    while told.len() < failed {
        told.push(mails.recv().await.context("the mailers have stopped")?);
    }
    told.sort();
    say!("mailers: mailed {}, each once", told.join(", "));

    let reason = set_aside(bus, archive.queue()).await?;
    say!(
        "archive: what it had no room for was set aside ({})",
        reason.name()
    );
    catch_up(bus, &mut archive).await?;

    let listened = bus
        .broadcast(&Topic::new("deploy.web.done")?.into(), &"done")
        .await?;
    if !listened {
        say!("nobody listens to deploy.web.done");
    }

    // Ends the mailers. A bus that others use too is not closed by a runtime that shuts down.
    runtime.shutdown().await?;
    bus.close().await?;
    while let Some(ended) = mailers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Reads as many builds as there are in this example.
async fn watch(mut builds: TypedConsumer<Build>) -> anyhow::Result<Vec<Build>> {
    let mut seen = Vec::new();
    while seen.len() < BUILDS.len() {
        let received = builds.recv().await.context("the bus was closed")?;
        seen.push(received.ack().await?);
    }
    Ok(seen)
}

/// Mails failures until the bus is closed; each is acknowledged once its mail is out.
async fn mail(
    mut failures: TypedConsumer<Build>,
    mailed: mpsc::Sender<String>,
) -> anyhow::Result<()> {
    while let Some(Received {
        value: build,
        delivery,
    }) = failures.recv().await
    {
        mailed
            .send(format!("{} #{}", build.project, build.number))
            .await?;
        delivery.ack().await?;
    }
    Ok(())
}

/// Reads what there was room for, and takes back what was set aside, until all is there.
async fn catch_up(
    bus: &Arc<dyn MessageBus>,
    archive: &mut TypedConsumer<Build>,
) -> anyhow::Result<()> {
    let (queue, all) = (archive.queue().clone(), DeadLetterFilter::all());
    let mut kept = 0;
    while kept < BUILDS.len() {
        // As many as there is room for; the others stay set aside until the next time.
        bus.redrive(&queue, &all).await?;
        // A broker may still be setting the last one aside.
        if let Ok(received) = timeout(A_MOMENT, archive.recv()).await {
            received.context("the bus was closed")?.ack().await?;
            kept += 1;
        }
    }
    say!("archive: caught up with {kept} builds");
    Ok(())
}

/// Waits until something was set aside; says why it was.
async fn set_aside(
    bus: &Arc<dyn MessageBus>,
    queue: &QueueName,
) -> anyhow::Result<DeadLetterReason> {
    let all = DeadLetterFilter::all();
    loop {
        let page = bus.dead_letters(queue, &all, Page::default()).await?;
        if let Some(letter) = page.letters.into_iter().next() {
            return Ok(letter.reason);
        }
        sleep(A_MOMENT).await;
    }
}
