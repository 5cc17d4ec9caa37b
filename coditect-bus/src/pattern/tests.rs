//! The patterns where things go wrong: no answer, late answers, garbage, panics, lost queues.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    ContentType, CorrelationId, DeadLetter, DeadLetterFilter, DeadLetterReason, MemoryBus, Page,
    TopicPattern,
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    path: String,
    size: u32,
}

fn job() -> Job {
    Job {
        path: "a/b".to_owned(),
        size: 7,
    }
}

async fn echo(bus: &MemoryBus, capability: &str) -> (Destination, Responder) {
    let queue = bus.offer(capability).await.unwrap();
    let echo = |job: Job| async move { Ok::<_, String>(job) };
    let responder = bus
        .serve(queue.clone(), NonZeroUsize::new(4).unwrap(), echo)
        .await
        .unwrap();
    (queue.into(), responder)
}

async fn dead(bus: &dyn MessageBus, queue: &Destination) -> Vec<DeadLetter> {
    let Destination::Queue(queue) = queue else {
        panic!("no queue")
    };
    bus.dead_letters(queue, &DeadLetterFilter::all(), Page::default())
        .await
        .unwrap()
        .letters
}

#[tokio::test(start_paused = true)]
async fn many_questions_of_one_requester_get_their_own_answers() {
    let bus = MemoryBus::new();
    let (to, responder) = echo(&bus, "echo").await;
    let requester = Arc::new(bus.requester().await.unwrap());
    let questions = (0..200).map(|size| {
        let (requester, to) = (Arc::clone(&requester), to.clone());
        tokio::spawn(async move {
            let answer: Job = requester
                .request(&to, &Job { size, ..job() }, SECOND)
                .await
                .unwrap();
            assert_eq!(answer.size, size);
        })
    });
    for question in questions.collect::<Vec<_>>() {
        question.await.unwrap();
    }
    assert_eq!(requester.late_replies(), 0);
    let stats = bus.stats(requester.reply_queue()).await.unwrap();
    assert_eq!((stats.ready(), stats.unacked), (0, 0));
    responder.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_to_nobody_fails_at_once_and_one_without_answer_at_its_deadline() {
    let bus = MemoryBus::new();
    let requester = bus.requester().await.unwrap();
    let nowhere = Destination::for_capability("nobody").unwrap();
    let error = requester
        .request::<_, Job>(&nowhere, &job(), SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute);
    assert!(error.to_string().contains("capability.nobody"), "{error}");

    let to = bus.offer("slow").await.unwrap().into();
    let start = tokio::time::Instant::now();
    let error = requester
        .request::<_, Job>(&to, &job(), SECOND)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome_unknown()),
        (ErrorKind::Timeout, true)
    );
    assert!(start.elapsed() >= SECOND && start.elapsed() < 2 * SECOND);
    // The question went with its deadline, instead of to a responder that comes later.
    tokio::time::sleep(SECOND).await;
    assert_eq!(dead(&bus, &to).await[0].reason, DeadLetterReason::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_dropped_and_counted() {
    let bus = MemoryBus::new();
    let queue = bus.offer("slow").await.unwrap();
    let slow = |job: Job| async move {
        tokio::time::sleep(3 * SECOND).await;
        Ok::<_, String>(job)
    };
    let responder = bus
        .serve(queue.clone(), NonZeroUsize::MIN, slow)
        .await
        .unwrap();
    let requester = bus.requester().await.unwrap();
    let error = requester
        .request::<_, Job>(&queue.clone().into(), &job(), SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        (requester.late_replies(), requester.unanswered()),
        (0, 0),
        "a question given up is forgotten"
    );
    responder.stop().await;
    let answer: Job = {
        let (to, responder) = echo(&bus, "echo").await;
        let answer = requester.request(&to, &job(), SECOND).await.unwrap();
        responder.stop().await;
        answer
    };
    assert_eq!(answer, job());
    assert_eq!(requester.late_replies(), 1);
}

#[tokio::test(start_paused = true)]
async fn errors_panics_and_garbage_are_told_to_the_asker() {
    let bus = MemoryBus::new();
    let queue = bus.offer("picky").await.unwrap();
    let picky = |job: Job| async move {
        assert!(job.size != 13, "unlucky");
        if job.size > 100 {
            Err("too large".to_owned())
        } else {
            Ok(job.size)
        }
    };
    let responder = bus
        .serve(queue.clone(), NonZeroUsize::MIN, picky)
        .await
        .unwrap();
    let requester = bus.requester().await.unwrap();
    let to = queue.into();
    for (size, expected) in [
        (101, "responder refused: too large"),
        (13, "responder refused: handler panicked"),
    ] {
        let error = requester
            .request::<_, u32>(&to, &Job { size, ..job() }, SECOND)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Refused, expected)
        );
    }
    let error = requester
        .request::<_, u32>(&to, "no job", SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("does not decode"), "{error}");
    let error = requester
        .request::<_, Vec<u8>>(&to, &job(), SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);

    // The worker lives on; what cannot be answered is a dead letter, a refusal is none.
    assert_eq!(
        requester
            .request::<_, u32>(&to, &job(), SECOND)
            .await
            .unwrap(),
        7
    );
    responder.stop().await;
    let letters = dead(&bus, &to).await;
    assert_eq!(letters.len(), 2);
    assert_eq!(
        letters[0].reason,
        DeadLetterReason::Rejected("handler panicked".into())
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_limit_is_told_instead_of_tried_for_ever() {
    let bus = MemoryBus::builder().with_max_payload(200).build();
    let queue = bus.offer("large").await.unwrap();
    let large = |len: usize| async move { Ok::<_, String>("x".repeat(len)) };
    let responder = bus
        .serve(queue.clone(), NonZeroUsize::MIN, large)
        .await
        .unwrap();
    let requester = bus.requester().await.unwrap();
    let error = requester
        .request::<_, String>(&queue.into(), &1_000, SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("over the limit of 200"),
        "{error}"
    );
    responder.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_foreign_question_gets_its_own_correlation_id_back() {
    let bus = MemoryBus::new();
    let (to, responder) = echo(&bus, "echo").await;
    let answers = QueueName::new("answers").unwrap();
    bus.declare(QueueSpec::new(answers.clone())).await.unwrap();
    let mut consumer = bus
        .subscribe(Subscription::queue(answers.clone()))
        .await
        .unwrap();
    let question = Envelope::json(&job()).unwrap().with_reply_to(answers);
    let id = question.id();
    bus.publish(
        &to,
        question
            .clone()
            .with_correlation_id(CorrelationId::parse("7/a")),
    )
    .await
    .unwrap();
    bus.publish(&to, question).await.unwrap();
    for expected in ["7/a".to_owned(), id.to_string()] {
        let answer = consumer.recv().await.unwrap();
        assert_eq!(
            answer.envelope().correlation_id().unwrap().to_string(),
            expected
        );
        answer.ack().await.unwrap();
    }
    responder.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_queue_fails_its_questions_and_comes_back() {
    let bus = MemoryBus::new();
    let (to, responder) = echo(&bus, "echo").await;
    let silent: Destination = bus.offer("silent").await.unwrap().into();
    let requester = bus.requester().await.unwrap();
    let unanswered = job();
    let question = requester.request::<_, Job>(&silent, &unanswered, 60 * SECOND);
    let accident = async {
        tokio::task::yield_now().await;
        bus.delete(requester.reply_queue()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(question, accident);
    let error = answer.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome_unknown()),
        (ErrorKind::Unavailable, true)
    );
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        requester
            .request::<_, Job>(&to, &job(), SECOND)
            .await
            .unwrap(),
        job()
    );
    responder.stop().await;

    bus.close().await.unwrap();
    let error = requester
        .request::<_, Job>(&to, &job(), SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    requester.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_requester_takes_its_reply_queue_with_it() {
    let bus = MemoryBus::new();
    let requester = bus.requester().await.unwrap();
    let reply_queue = requester.reply_queue().clone();
    requester.close().await;
    assert_eq!(
        bus.stats(&reply_queue).await.unwrap_err().kind(),
        ErrorKind::NoRoute
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_responder_answers_what_it_has_and_takes_no_more() {
    let bus = MemoryBus::new();
    let queue = bus.offer("slow").await.unwrap();
    let slow = |job: Job| async move {
        tokio::time::sleep(SECOND).await;
        Ok::<_, String>(job)
    };
    let responder = bus
        .serve(queue.clone(), NonZeroUsize::MIN, slow)
        .await
        .unwrap();
    let requester = bus.requester().await.unwrap();
    let to = queue.clone().into();
    let job = job();
    let mut question = Box::pin(requester.request::<_, Job>(&to, &job, 10 * SECOND));
    assert!(
        tokio::time::timeout(SECOND / 2, &mut question)
            .await
            .is_err()
    );
    bus.send(&to, &job).await.unwrap();
    let (answer, ()) = tokio::join!(question, responder.stop());
    assert_eq!(answer.unwrap(), job);
    assert_eq!(bus.stats(&queue).await.unwrap().ready(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_work_queue_rejects_what_does_not_decode_and_goes_on() {
    let bus = MemoryBus::new().handle();
    let to: Destination = bus.offer("jobs").await.unwrap().into();
    bus.publish(&to, Envelope::new("{\"path\": 3}"))
        .await
        .unwrap();
    bus.publish(
        &to,
        Envelope::json(&job())
            .unwrap()
            .with_content_type(ContentType::new("text/plain")),
    )
    .await
    .unwrap();
    bus.route("jobs", &job()).await.unwrap();
    let queue = QueueName::for_capability("jobs").unwrap();
    let mut consumer = bus
        .consume::<Job>(Subscription::queue(queue))
        .await
        .unwrap();
    assert_eq!(consumer.recv().await.unwrap().ack().await.unwrap(), job());
    assert!(consumer.try_recv().is_none());
    let reasons: Vec<_> = dead(&*bus, &to)
        .await
        .iter()
        .map(|letter| letter.reason.to_string())
        .collect();
    assert!(
        reasons[0].contains("another shape at line 1"),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("text/plain"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_says_whether_anybody_listens() {
    let bus = MemoryBus::new();
    let to = Destination::Topic("run.1.done".parse().unwrap());
    assert!(!bus.broadcast(&to, &1).await.unwrap());
    let all: TopicPattern = "run.#".parse().unwrap();
    let mut listener = bus.consume::<u32>(Subscription::topic(all)).await.unwrap();
    assert!(bus.broadcast(&to, &1).await.unwrap());
    assert_eq!(listener.recv().await.unwrap().ack().await.unwrap(), 1);
    assert_eq!(
        bus.route("nobody", &1).await.unwrap_err().kind(),
        ErrorKind::NoRoute
    );
    assert_eq!(bus.offer("").await.unwrap_err().kind(), ErrorKind::Invalid);
}
