//! Tasks that have failed for good: listed with all that is known of them, and put back by people.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::Strategy;
use coditect_core::{
    Error, ErrorKind, FailureKind, Redrive, Runtime, RuntimeBuilder, SetAside, SetAsideFilter,
    SetAsideKind,
};

use crate::stage::{Count, Shared, failure, within};

const WORK: Call<u64, u64> = Call::new("work");

/// Why nothing was written, and what lies beneath.
#[derive(Debug)]
struct NotWritten(std::io::Error);

impl std::fmt::Display for NotWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing was written")
    }
}

impl std::error::Error for NotWritten {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Fails for good for what is odd.
async fn work(x: u64) -> Result<u64, AgentError> {
    match x % 2 {
        0 => Ok(x),
        _ => {
            let full = NotWritten(std::io::Error::other("the disk is full"));
            Err(AgentError::from_boxed(full).into_permanent())
        }
    }
}

/// All letters that a filter chooses, page by page.
async fn all(runtime: &Runtime, filter: &SetAsideFilter) -> Result<Vec<SetAside>, Error> {
    let (mut letters, mut from) = (Vec::new(), None);
    loop {
        let page = runtime.dead_letters().list(filter, from).await?;
        letters.extend(page.letters);
        from = page.next;
        if from.is_none() {
            return Ok(letters);
        }
    }
}

fn local() -> RuntimeBuilder {
    Runtime::builder()
}

fn over_the_bus() -> RuntimeBuilder {
    Shared::new().runtime()
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_is_listed_with_all_that_is_known_of_it() -> Result<(), Error> {
    for builder in [local(), over_the_bus()] {
        let worker = agent("work", work).with_name("writer");
        let runtime = builder.agent(worker).start().await?;
        let run = runtime
            .submit(&WORK, 7)
            .tenant("acme")
            .label("batch", "nightly")
            .await?;
        failure(within(run.result()).await);

        let letters = all(&runtime, &SetAsideFilter::all()).await?;
        let [letter] = &letters[..] else {
            panic!("{letters:?}");
        };
        let kind = SetAsideKind::Task {
            run: run.id(),
            path: "work".to_owned(),
            attempt: coditect_core::Attempt::FIRST,
        };
        assert_eq!(letter.kind(), &kind);
        assert_eq!(
            (letter.reason_name(), letter.reason(), letter.chain()),
            (
                "permanent",
                "nothing was written",
                &["the disk is full".to_owned()][..]
            )
        );
        assert_eq!((letter.attempts(), letter.input()), (1, &b"7"[..]));
        let by = letter.by().expect("somebody had it");
        assert_eq!(by.to_string(), "writer/work@1.0.0");
        assert!(!by.incarnation.is_empty());
        assert_eq!(letter.requirement().unwrap().name.as_str(), "work");
        assert_eq!(letter.tenant(), Some("acme"));
        assert_eq!(letter.labels()["batch"], "nightly");
        assert_eq!(letter.first_failed_at(), letter.failed_at());
        assert_eq!((letter.redrive_at(), letter.redriven_from()), (None, None));
        assert!(letter.letter().is_none());
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_filter_chooses_by_each_of_its_conditions() -> Result<(), Error> {
    let other = |x: u64| std::future::ready(Err::<u64, _>(AgentError::permanent(x.to_string())));
    let runtime = Runtime::builder()
        .agent(agent("work", work))
        .agent(agent("other@2.1.0", other))
        .start()
        .await?;
    let first = runtime.submit(&WORK, 1).tenant("acme").await?;
    failure(within(first.result()).await);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let other: Call<u64, u64> = Call::new("other");
    let second = runtime.submit(&other, 2).label("batch", "nightly").await?;
    failure(within(second.result()).await);

    let of_first = [
        SetAsideFilter::all().with_tenant("acme"),
        SetAsideFilter::all().with_capability("work")?,
        SetAsideFilter::all().with_agent("work")?,
        SetAsideFilter::all().with_older_than(Duration::from_secs(60)),
    ];
    let of_second = [
        SetAsideFilter::all().with_label("batch", "nightly"),
        SetAsideFilter::all().with_version("2.1.0")?,
        SetAsideFilter::tasks().with_agent("other")?,
    ];
    for (filters, run) in [(&of_first[..], first.id()), (&of_second[..], second.id())] {
        for filter in filters {
            let letters = all(&runtime, filter).await?;
            assert_eq!(letters.len(), 1, "{filter:?}");
            let SetAsideKind::Task { run: of, .. } = letters[0].kind() else {
                panic!("{letters:?}");
            };
            assert_eq!(*of, run, "{filter:?}");
        }
    }
    let both = SetAsideFilter::all().with_reason(FailureKind::Permanent.name());
    assert_eq!(all(&runtime, &both).await?.len(), 2);
    for none in [
        SetAsideFilter::all().with_reason("timeout"),
        SetAsideFilter::all().with_older_than(Duration::from_secs(120)),
        SetAsideFilter::queue("mine".parse().unwrap()),
    ] {
        assert!(all(&runtime, &none).await?.is_empty(), "{none:?}");
    }
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn very_many_come_in_pages_and_each_once() -> Result<(), Error> {
    let runtime = Runtime::builder()
        .agent(agent("work", work))
        .start()
        .await?;
    // One run with more than a page holds, among others with few.
    for tasks in [3, 250, 1] {
        let mut plan = Plan::builder();
        let tasks: Vec<_> = (0..tasks)
            .map(|number| plan.task(format!("{number}"), &WORK, 2 * number + 1))
            .collect();
        let plan = plan.aggregate(collect_succeeded(), tasks)?;
        let run = runtime.submit_plan::<Vec<u64>>(plan).await?;
        within(run.settled()).await?;
    }
    let dead = runtime.dead_letters();
    let (mut from, mut ids, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = dead.list(&SetAsideFilter::tasks(), from).await?;
        assert!(page.letters.len() <= 100);
        ids.extend(page.letters.iter().map(SetAside::id));
        pages += 1;
        let Some(next) = page.next else { break };
        // It survives being written down.
        let text = serde_json::to_string(&next).unwrap();
        from = Some(serde_json::from_str(&text).unwrap());
    }
    assert!((3..=4).contains(&pages), "{pages}");
    assert_eq!(ids.len(), 254);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 254);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_is_put_back_with_another_input_is_done_once_and_names_its_origin() -> Result<(), Error>
{
    let calls = Count::default();
    let counted = calls.clone();
    let handler = move |x: u64| {
        counted.add();
        work(x)
    };
    let runtime = Runtime::builder()
        .agent(agent("work", handler))
        .start()
        .await?;
    let run = runtime.submit(&WORK, 7).await?;
    failure(within(run.result()).await);
    let dead = runtime.dead_letters();
    let letters = all(&runtime, &SetAsideFilter::all()).await?;
    let changed = Redrive::default().with_input(&8_u64)?;
    // Both may be taken for the first; the task is put back once.
    let (first, second) = tokio::join!(
        dead.redrive_as(&letters[0], &changed),
        dead.redrive_as(&letters[0], &changed)
    );
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    while run.state().await? != coditect_core::RunState::Succeeded {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((calls.get(), within(run.result()).await?), (2, 8));
    let gone = dead.redrive(&letters[0]).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(calls.get(), 2);
    assert!(all(&runtime, &SetAsideFilter::all()).await?.is_empty());
    let report = run.report().await?;
    assert_eq!(
        report.tasks[0].redriven_from.map(|from| from.get()),
        Some(1)
    );
    assert!(report.tasks[0].by_person);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_is_put_back_may_go_to_another_version() -> Result<(), Error> {
    for builder in [local(), over_the_bus()] {
        let broken = |_: u64| std::future::ready(Err::<u64, _>(AgentError::permanent("broken")));
        let mended = |x: u64| std::future::ready(Ok::<_, AgentError>(x + 1));
        let runtime = builder
            .agent(agent("work@1.3.0", broken))
            .agent(agent("work@2.0.0", mended).with_name("mended"))
            .start()
            .await?;
        let old: Call<u64, u64> = Call::new("work@^1.2");
        let run = runtime.submit(&old, 7).await?;
        assert_eq!(failure(within(run.result()).await).message, "broken");
        let dead = runtime.dead_letters();
        let changed = Redrive::default().with_requirement("work@2")?;
        let done = dead.redrive_all(&SetAsideFilter::all(), &changed).await?;
        assert_eq!((done.redriven, done.refused), (1, 0));
        while run.state().await? != coditect_core::RunState::Succeeded {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(within(run.result()).await?, 8);
        let report = run.report().await?;
        assert_eq!(report.tasks[0].capability, "work@^2");
        runtime.shutdown().await?;
    }
    Ok(())
}

/// Adds a constant, by an agent of this name.
fn named(name: &'static str, version: &'static str, by: u64) -> impl Agent + use<> {
    let add = move |x: u64| std::future::ready(Ok::<_, AgentError>(x + by));
    agent(version, add).with_name(name)
}

/// A run whose one task a broken agent has spent.
async fn spent(runtime: &Runtime) -> Result<RunHandle<u64>, Error> {
    let run = runtime.submit(&WORK, 7).await?;
    failure(within(run.result()).await);
    Ok(run)
}

async fn until_succeeded(run: &RunHandle<u64>) -> Result<u64, Error> {
    let succeeded = async {
        while run.state().await? != coditect_core::RunState::Succeeded {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        run.result().await
    };
    within(succeeded).await
}

#[tokio::test(start_paused = true)]
async fn what_is_put_back_may_go_to_one_agent_alone() -> Result<(), Error> {
    let routed = Shared::new().runtime().route("work", Strategy::RoundRobin);
    for builder in [local(), over_the_bus(), routed] {
        let broken = |_: u64| std::future::ready(Err::<u64, _>(AgentError::permanent("broken")));
        let mut builder = builder.agent(agent("work@1.9.0", broken));
        // Of those that offer the same, from one queue, the newest would have it otherwise.
        for (name, version, by) in [
            ("a", "work@1.7.0", 1),
            ("b", "work@1.8.0", 2),
            ("c", "work@1.8.1", 3),
        ] {
            builder = builder.agent(named(name, version, by));
        }
        let runtime = builder.start().await?;
        let mut plan = Plan::builder();
        let task = plan.task("task", &Call::<u64, u64>::new("work@=1.9.0"), 7);
        let run = runtime.submit_plan(plan.output(task)?).await?;
        failure(within(run.result()).await);
        let dead = runtime.dead_letters();
        let changed = Redrive::default()
            .with_requirement("work")?
            .with_agent("b")?;
        let done = dead.redrive_all(&SetAsideFilter::all(), &changed).await?;
        assert_eq!((done.redriven, done.refused), (1, 0));
        assert_eq!(until_succeeded(&run).await?, 7 + 2);
        assert_eq!(run.report().await?.tasks[0].capability, "b/work");
        runtime.shutdown().await?;
    }
    let refused = Redrive::default().with_agent("no name").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_for_an_agent_that_is_not_there_waits_visibly_and_through_a_takeover()
-> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let broken = |_: u64| std::future::ready(Err::<u64, _>(AgentError::permanent("broken")));
    let worker = shared.runtime().worker_only().agent(agent("work", broken));
    let worker = worker.start().await?;
    let first = shared.runtime().start().await?;
    let run = spent(&first).await?;
    let dead = first.dead_letters();
    let letters = all(&first, &SetAsideFilter::all()).await?;
    let changed = Redrive::default().with_agent("second")?;
    dead.redrive_as(&letters[0], &changed).await?;
    while run.state().await?.is_settled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut events = run.events().await?;
    loop {
        let event = within(events.next()).await?.expect("the run goes on");
        if let RunEventKind::Unserved(info) = event.kind {
            assert_eq!(info.capability, "second/work");
            break;
        }
    }
    // Whoever owns it next knows whom it is for.
    drop(first);
    let second = shared.runtime().start().await?;
    let run = second.attach::<u64>(run.id());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!run.state().await?.is_settled());
    let late = shared
        .runtime()
        .worker_only()
        .agent(named("second", "work@1.0.3", 5));
    let late = late.start().await?;
    assert_eq!(within(run.result()).await?, 7 + 5);
    for runtime in [late, worker, second] {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_for_an_agent_that_never_comes_fails_at_its_deadline_and_says_whom_it_lacked()
-> Result<(), Error> {
    let runtime = Runtime::builder()
        .agent(agent("work", work))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let task = plan.task("task", &WORK, 7);
    plan.configure(&task, |task| task.deadline(Duration::from_secs(60)));
    let run = runtime.submit_plan::<u64>(plan.output(task)?).await?;
    failure(within(run.result()).await);
    let changed = Redrive::default().with_agent("nobody")?;
    let chosen = SetAsideFilter::tasks();
    let dead = runtime.dead_letters();
    assert_eq!(dead.redrive_all(&chosen, &changed).await?.redriven, 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let failed = failure(within(run.result()).await);
    assert_eq!(failed.kind, FailureKind::Unserved);
    assert!(failed.message.contains("`nobody/work`"), "{failed}");
    // From there it goes back to everybody who offers it.
    let changed = Redrive::default()
        .with_requirement("work")?
        .with_input(&8_u64)?;
    assert_eq!(dead.redrive_all(&chosen, &changed).await?.redriven, 1);
    assert_eq!(until_succeeded(&run).await?, 8);
    runtime.shutdown().await
}
