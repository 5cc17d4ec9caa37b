//! Dead letters, whatever they were: listed with their reason, and put back on purpose.

use std::time::Duration;

use coditect_core::bus::{
    DeadLetterFilter, Destination, Envelope, QueueName, QueueSpec, Subscription,
};
use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, Redrive, SetAsideFilter, SetAsideKind};

use crate::stage::{Gate, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

/// Sets the next message of a queue aside.
async fn set_aside(shared: &Shared, queue: &QueueName) {
    let subscription = Subscription::queue(queue.clone());
    let mut consumer = shared.bus.subscribe(subscription).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap();
    delivery.reject("not today").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_set_aside_is_put_back_and_answered() -> Result<(), Error> {
    let shared = Shared::new();
    let asker = shared.runtime().start().await?;
    let dead = asker.dead_letters();
    let queue = dead.queue_of("work")?;
    // An agent that only makes itself known.
    let gate = Gate::new();
    let held = gate.clone();
    let handler = move |x: u64| {
        let held = held.clone();
        async move {
            held.pass().await;
            Ok::<_, AgentError>(x + 1)
        }
    };
    let worker = shared.runtime().worker_only();
    let worker = worker
        .agent(agent("work", handler).with_concurrency(1))
        .start()
        .await?;
    while asker.agents().records().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // What occupies it leaves the next request to whoever rejects it.
    worker.breaker("work", "work")?.force_open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let request = |x: u64| {
        let asker = asker.clone();
        tokio::spawn(async move {
            asker
                .request(&WORK, x)
                .deadline(Duration::from_secs(600))
                .await
        })
    };
    // The first waits at the worker as its next probe.
    let answers = [request(1), request(10)];
    tokio::time::sleep(Duration::from_secs(1)).await;
    set_aside(&shared, &queue).await;

    let page = dead
        .list(&SetAsideFilter::queue(queue.clone()), None)
        .await?;
    let [letter] = &page.letters[..] else {
        panic!("{page:?}");
    };
    assert!(letter.reason().contains("not today"), "{}", letter.reason());
    assert_eq!(letter.kind(), &SetAsideKind::Request);
    assert_eq!(letter.requirement().unwrap().name.as_str(), "work");
    assert_eq!((letter.reason_name(), letter.attempts()), ("rejected", 1));
    let changed = Redrive::default().with_input(&40_u64)?;
    dead.redrive_as(letter, &changed).await?;
    let gone = dead.redrive(letter).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(
        dead.list(&SetAsideFilter::queue(queue.clone()), None)
            .await?
            .letters
            .is_empty()
    );
    worker.breaker("work", "work")?.reset();
    gate.open(2);
    let mut sum = 0;
    for answer in answers {
        sum += within(answer).await.unwrap()?;
    }
    assert!([2 + 41, 11 + 41].contains(&sum), "{sum}");
    worker.shutdown().await?;
    asker.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_set_aside_says_what_it_was_and_is_not_put_back() -> Result<(), Error> {
    let shared = Shared::new();
    let coordinator = shared.runtime().start().await?;
    let dead = coordinator.dead_letters();
    let queue = dead.queue_of("work")?;
    let handler = |x: u64| std::future::ready(Ok::<_, AgentError>(x));
    let worker = shared.runtime().worker_only();
    let worker = worker.agent(agent("work", handler)).start().await?;
    worker.breaker("work", "work")?.force_open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut plan = Plan::builder();
    let tasks = [1, 2].map(|number| plan.task(format!("task-{number}"), &WORK, number));
    let run = plan.aggregate(collect_all(), tasks)?;
    let run = coordinator.submit_plan::<Vec<u64>>(run).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    set_aside(&shared, &queue).await;

    let page = dead
        .list(&SetAsideFilter::queue(queue.clone()), None)
        .await?;
    let letter = &page.letters[0];
    let SetAsideKind::Attempt {
        run: of,
        attempt,
        key,
    } = letter.kind()
    else {
        panic!("{letter:?}");
    };
    assert_eq!((*of, attempt.get()), (run.id(), 1));
    assert!(key.starts_with("task-") && !letter.input().is_empty());
    let refused = dead.redrive(letter).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    worker.breaker("work", "work")?.reset();
    assert_eq!(
        within(run.result()).await?,
        [1, 2],
        "another attempt followed"
    );
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_message_of_the_programs_own_is_put_back_as_it_was() -> Result<(), Error> {
    let shared = Shared::new();
    let runtime = shared.runtime().start().await?;
    let queue: QueueName = "mine".parse()?;
    runtime.bus().declare(QueueSpec::new(queue.clone())).await?;
    let to = Destination::Queue(queue.clone());
    let letter = Envelope::new("hello").with_header("colour", "blue");
    runtime.bus().publish(&to, letter).await.unwrap();
    set_aside(&shared, &queue).await;
    let dead = runtime.dead_letters();
    let page = dead
        .list(&SetAsideFilter::queue(queue.clone()), None)
        .await?;
    assert_eq!(page.letters[0].kind(), &SetAsideKind::Message);
    dead.redrive(&page.letters[0]).await?;
    let mut consumer = shared
        .bus
        .subscribe(Subscription::queue(queue.clone()))
        .await?;
    let again = within(consumer.recv()).await.unwrap();
    assert_eq!(&again.envelope().payload()[..], b"hello");
    assert_eq!(again.envelope().header("colour"), Some("blue"));
    again.ack().await.unwrap();
    let none = DeadLetterFilter::all();
    let left = runtime
        .bus()
        .dead_letters(&queue, &none, Default::default());
    assert!(left.await?.letters.is_empty());
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_set_aside_may_go_to_one_agent_alone() -> Result<(), Error> {
    let shared = Shared::new();
    let asker = shared.runtime().start().await?;
    let dead = asker.dead_letters();
    let queue = dead.queue_of("work")?;
    let worker = |name: &'static str, version: &'static str, by: u64| {
        let add = move |x: u64| std::future::ready(Ok::<_, AgentError>(x + by));
        let worker = shared.runtime().worker_only();
        worker.agent(agent(version, add).with_name(name))
    };
    let first = worker("first", "work@1.0.0", 1).start().await?;
    first.breaker("first", "work")?.force_open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = tokio::spawn({
        let patience = Duration::from_secs(3_000);
        let request = asker.request(&WORK, 10).deadline(patience);
        async move { request.await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    // What waits at the agent as its next probe comes back in a moment.
    set_aside(&shared, &queue).await;
    let chosen = SetAsideFilter::queue(queue.clone());
    let letters = dead.list(&chosen, None).await?.letters;
    let changed = Redrive::default().with_agent("third")?;
    dead.redrive_as(&letters[0], &changed).await?;
    first.breaker("first", "work")?.reset();
    let second = worker("second", "work@1.2.0", 2).start().await?;
    // It waits in the queue, whoever else takes from that.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!asked.is_finished());
    let third = worker("third", "work@1.1.0", 3).start().await?;
    assert_eq!(within(asked).await.unwrap()?, 10 + 3);
    for runtime in [first, second, third, asker] {
        runtime.shutdown().await?;
    }
    Ok(())
}
