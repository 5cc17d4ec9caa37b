//! Holds `docs/wire.md` and the code against each other.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::{Envelope, Headers, Priority};
use coditect_dag::journal::Partition;
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use coditect_telemetry::TraceContext;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::context::Progress;
use crate::effect::EffectClass;
use crate::failure::FailureKind;
use crate::plan::PreparedPlan;
use crate::run::Occasion;
use crate::worker::Ended;

const PAGE: &str = include_str!("../../../docs/wire.md");
const RUN_ID: &str = "0192d3c0-7a5e-7cc3-98c4-dc0c0c07398f";

/// The text of the example with this name.
fn example(name: &str) -> &'static str {
    let fence = format!("\n```json {name}\n");
    let (_, rest) = PAGE.split_once(&fence).expect(name);
    rest.split_once("\n```").expect("a closed block").0
}

fn value(name: &str) -> Value {
    serde_json::from_str(example(name)).expect(name)
}

fn json_of<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}

fn body(envelope: &Envelope) -> Value {
    envelope.decode().unwrap()
}

fn headers(envelope: &Envelope) -> Value {
    let headers = envelope.headers().iter();
    headers
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn with_headers(envelope: Envelope, name: &str) -> Envelope {
    let map: BTreeMap<String, String> = serde_json::from_str(example(name)).unwrap();
    let mut headers = Headers::new();
    for (name, value) in map {
        headers.insert(name, value);
    }
    envelope.with_headers(headers)
}

/// Reads an example as `T` and finds that `T` writes the same.
fn survives<T: Serialize + DeserializeOwned>(name: &str) -> T {
    let read: T = serde_json::from_str(example(name)).expect(name);
    assert_eq!(json_of(&read), value(name), "{name}");
    read
}

fn task() -> TaskMessage {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    TaskMessage {
        run: RUN_ID.parse().unwrap(),
        task: TaskId::new(7),
        attempt: Attempt::new(2),
        times_opened: 0,
        outcomes: "outcome.3".parse().unwrap(),
        key: "summary".into(),
        tenant: "default".into(),
        avoid: None,
        agent: None,
        requirement: "summarize@^1.2".parse().unwrap(),
        priority: Priority::P0,
        timeout: Some(Duration::from_secs(30)),
        deadline: Some(Timestamp::from_millis(1_767_225_600_000)),
        depth: 0,
        occasion: Some(Occasion {
            schedule: "nightly".into(),
            nominal: Timestamp::from_millis(1_767_222_000_000),
        }),
        effect: None,
        trace: TraceContext::extract(|name| (name == "traceparent").then_some(trace)),
        input: Bytes::from(example("task-body")),
    }
}

#[test]
fn a_task_is_as_documented() {
    let envelope = task().into_envelope();
    assert_eq!(headers(&envelope), value("task-headers"));
    assert_eq!(body(&envelope), value("task-body"));
    assert_eq!(envelope.priority(), Priority::P0);
    assert_eq!(envelope.reply_to().unwrap().as_str(), "outcome.3");
    let key = format!("{RUN_ID}/7");
    assert_eq!(envelope.idempotency_key(), Some(&*key));
    assert_eq!(
        envelope.expires_at().map(Timestamp::from),
        Some(Timestamp::from_millis(1_767_225_600_000))
    );
    let id = format!("the example is `{}`", envelope.id());
    assert!(PAGE.contains(&id), "{id}");
}

#[test]
fn a_timeout_beyond_what_a_reader_can_count_to_is_left_out() {
    let timeout = Some(Duration::MAX);
    let envelope = TaskMessage { timeout, ..task() }.into_envelope();
    assert_eq!(TaskMessage::read(&envelope).unwrap().timeout, None);
}

#[test]
fn a_task_made_of_the_documented_headers_is_read() {
    let envelope = with_headers(Envelope::new(example("task-body")), "task-headers");
    let envelope = envelope
        .with_priority(Priority::P0)
        .with_reply_to("outcome.3".parse().unwrap());
    let read = TaskMessage::read(&envelope).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", task()));
}

#[test]
fn every_header_is_required_but_those_said_to_be_optional() {
    let optional = [KIND, DEPTH, SCHEDULE, TIMEOUT, DEADLINE, "traceparent"];
    let whole = task().into_envelope();
    for (missing, _) in whole.headers().iter() {
        let mut headers = Headers::new();
        for (name, value) in whole.headers().iter().filter(|(name, _)| *name != missing) {
            headers.insert(name.to_owned(), value.to_owned());
        }
        let read = TaskMessage::read(&whole.clone().with_headers(headers));
        assert_eq!(read.is_ok(), optional.contains(&missing), "{missing}");
    }
}

#[test]
fn outcomes_and_replies_are_as_documented() {
    for name in [
        "outcome-output",
        "outcome-failure",
        "outcome-by",
        "outcome-plan",
    ] {
        let envelope = Envelope::new(example(name));
        let outcome = Outcome::read(&envelope).expect(name);
        assert_eq!((outcome.task.get(), outcome.attempt.get()), (7, 2));
        let written = outcome.to_envelope().unwrap();
        assert_eq!(body(&written), value(name));
        assert_eq!(written.header(KIND), Some("outcome"));
    }
    for name in ["reply-output", "reply-failure"] {
        let reply: ReplyBody = survives(name);
        let written = reply.to_envelope().unwrap();
        assert_eq!(body(&written), value(name));
        assert_eq!(written.header(KIND), Some("reply"));
    }
}

#[test]
fn a_delay_asked_for_is_read() {
    let outcome = Outcome::read(&Envelope::new(example("outcome-failure"))).unwrap();
    let Ended::Failed {
        failure,
        retry_after,
        before_effect,
    } = outcome.ended
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.kind, FailureKind::Error);
    assert_eq!(retry_after, Some(Duration::from_secs(2)));
    assert!(!before_effect, "where nothing is said");
}

#[test]
fn every_kind_of_failure_is_documented() {
    use FailureKind::*;
    let kinds = [
        Error,
        Permanent,
        Panic,
        Timeout,
        InvalidInput,
        TooLarge,
        InvalidPlan,
        DeadlineExceeded,
        Unserved,
        Lost,
        Cancelled,
        Upstream,
        OutcomeUnknown,
    ];
    for kind in kinds {
        let name = json_of(&kind);
        let name = format!("`{}`", name.as_str().unwrap());
        assert!(PAGE.contains(&name), "{name}");
    }
}

#[test]
fn plans_are_as_documented() {
    for name in ["plan", "plan-wait", "plan-aggregate"] {
        let plan = PreparedPlan::from_json(example(name).as_bytes()).expect(name);
        let mut written = json_of(plan.spec());
        if name == "plan-aggregate" {
            assert_eq!(
                written["settings"].take(),
                json!([{ "run_after_failure": false }])
            );
            written["settings"] = json!([]);
        }
        assert_eq!(written, value(name), "{name}");
    }
}

#[test]
fn a_request_is_as_documented() {
    let requirement = "summarize@^1.2".parse().unwrap();
    let envelope = request(Bytes::from_static(b"1"), &requirement, Priority::P1, None);
    assert_eq!(headers(&envelope), value("request-headers"));
    assert_eq!(requirement_of(&envelope).unwrap(), Some(requirement));
    assert_eq!(requirement_of(&Envelope::new("1")).unwrap(), None);
    let several = Outcome::read_several(&Envelope::new(example("outcomes"))).unwrap();
    let several: Vec<_> = several.into_iter().map(Result::unwrap).collect();
    let bodies: Vec<_> = several.iter().map(|one| one.to_json().unwrap()).collect();
    let written = Outcome::several(bodies.iter().map(Vec::as_slice));
    assert_eq!(body(&written), value("outcomes"));
    assert_eq!(written.header(KIND), Some("outcomes"));
    assert!(requirement_of(&Envelope::new("1").with_header(REQUIREMENT, "@")).is_err());
}

#[test]
fn control_and_progress_are_as_documented() {
    let control: Control = survives("control");
    let control = control.to_envelope().unwrap();
    assert_eq!(control.header(KIND), Some("control"));
    assert!(matches!(Notice::read(&control), Ok(Notice::Stop(_))));
    let anew: Anew = survives("control-anew");
    let anew = anew.to_envelope().unwrap();
    assert_eq!(anew.header(KIND), Some("control"));
    assert!(matches!(Notice::read(&anew), Ok(Notice::Anew(_))));
    let unwanted: Unwanted = survives("control-unwanted");
    let unwanted = unwanted.to_envelope().unwrap();
    assert_eq!(unwanted.header(KIND), Some("control"));
    assert!(matches!(Notice::read(&unwanted), Ok(Notice::Unwanted(_))));
    let progress: Progress = survives("progress");
    assert_eq!(progress.run.to_string(), RUN_ID);
}

#[test]
fn claims_are_as_documented() {
    let holding = survives::<Holding>("claim");
    assert_eq!(holding.lease(), Duration::from_secs(10));
    for said in Said::ALL {
        let envelope = holding.to_envelope(said).unwrap();
        assert_eq!(envelope.header(KIND), Some(said.kind()));
        assert!(PAGE.contains(&format!("`{}`", said.kind())));
        assert_eq!(body(&envelope), value("claim"));
    }
    let first = survives::<Holding>("claim-first");
    assert_eq!((holding.claim, first.claim), (None, Some(17)));
    let grant = survives::<Grant>("grant");
    let envelope = grant.to_envelope(None).unwrap();
    assert_eq!(envelope.header(KIND), Some("grant"));
    assert_eq!(Grant::read(&envelope).unwrap(), grant);
}

#[test]
fn words_of_handlers_that_wait_are_those_of_the_page() {
    let absence = survives::<Absence>("absence");
    for word in Word::ALL {
        let envelope = absence.to_envelope(word).unwrap();
        assert_eq!(envelope.header(KIND), Some(word.kind()));
        assert!(PAGE.contains(&format!("`coditect-kind: {}`", word.kind())));
        assert_eq!(Absence::read(&envelope).unwrap(), absence);
    }
}

#[test]
fn an_irreversible_task_is_of_its_own_kind_and_where_nothing_is_said_nothing_is_asked_for() {
    for (effect, kind) in [
        (None, "task"),
        (Some(EffectClass::Pure), "task"),
        (Some(EffectClass::Irreversible), "irreversible-task"),
    ] {
        let envelope = TaskMessage { effect, ..task() }.into_envelope();
        assert_eq!(envelope.header(KIND), Some(kind));
        assert_eq!(envelope.header(EFFECT), effect.map(EffectClass::name));
        assert!(PAGE.contains(&format!("`{kind}`")));
        assert_eq!(TaskMessage::read(&envelope).unwrap().effect, effect);
    }
    // The kind says enough, and so does the header.
    let mut headers = task().into_envelope().headers().clone();
    headers.insert(EFFECT.to_owned(), "irreversible".to_owned());
    let stricter = task().into_envelope().with_headers(headers.clone());
    let read = TaskMessage::read(&stricter).unwrap();
    assert_eq!(read.effect, Some(EffectClass::Irreversible));
    headers.insert(EFFECT.to_owned(), "compensable".to_owned());
    let unknown = task().into_envelope().with_headers(headers);
    assert!(TaskMessage::read(&unknown).is_err(), "it may be stricter");
}

#[test]
fn that_nothing_had_happened_is_said_and_read() {
    let mut outcome = value("outcome-failure");
    outcome["outcome"]["failure"]["before_effect"] = json!(true);
    let read = Outcome::read(&Envelope::json(&outcome).unwrap()).unwrap();
    assert_eq!(body(&read.to_envelope().unwrap()), outcome);
    assert!(PAGE.contains("`before_effect`"));
}

#[test]
fn every_header_and_name_is_documented() {
    for header in [
        KIND,
        RUN,
        TASK,
        ATTEMPT,
        KEY,
        TENANT,
        REQUIREMENT,
        TIMEOUT,
        DEADLINE,
        DEPTH,
        EFFECT,
        ROUNDS,
    ] {
        assert!(PAGE.contains(&format!("\n| `{header}` |")), "{header}");
    }
    let run: RunId = RUN_ID.parse().unwrap();
    let (name, line) = ("summarize".parse().unwrap(), |version: &str| {
        version.parse::<Version>().unwrap()
    });
    let queue = |version| capability_queue(&name, &line(version)).unwrap();
    assert_eq!(queue("1.4.2").as_str(), "capability.summarize.v1");
    assert_eq!(queue("0.3.1").as_str(), "capability.summarize.v0.3");
    assert_eq!(queue("0.0.7").as_str(), "capability.summarize.v0.0.7");
    assert_eq!(
        outcome_queue(None, Partition::new(3)).unwrap().as_str(),
        "outcome.3"
    );
    let of_one_process = outcome_queue(Some("0192d3c0"), Partition::new(3)).unwrap();
    assert_eq!(of_one_process.as_str(), "outcome.0192d3c0.3");
    assert_eq!(control_fanout().unwrap().as_str(), "control");
    assert_eq!(
        progress_topic(run).unwrap().as_str(),
        format!("progress.{RUN_ID}")
    );
}

#[test]
fn what_is_added_later_is_ignored_and_a_new_kind_of_failure_is_an_error() {
    let mut outcome = value("outcome-failure");
    outcome["later"] = json!(true);
    outcome["outcome"]["failure"]["failure"]["later"] = json!([1]);
    assert!(Outcome::read(&Envelope::json(&outcome).unwrap()).is_ok());
    outcome["outcome"]["failure"]["failure"]["kind"] = json!("melted");
    let read = Outcome::read(&Envelope::json(&outcome).unwrap()).unwrap();
    let Ended::Failed { failure, .. } = read.ended else {
        panic!("{read:?}");
    };
    assert_eq!(failure.kind, FailureKind::Error);

    let mut control = value("control");
    control["later"] = json!(1);
    assert!(Notice::read(&Envelope::json(&control).unwrap()).is_ok());

    let mut plan = value("plan");
    plan["later"] = json!(1);
    plan["tasks"][0]["later"] = json!(1);
    assert!(PreparedPlan::from_json(plan.to_string().as_bytes()).is_ok());
    plan["settings"][1]["retry"]["later"] = json!(1);
    assert!(PreparedPlan::from_json(plan.to_string().as_bytes()).is_err());

    let envelope = task().into_envelope().with_header("later", "1");
    assert!(TaskMessage::read(&envelope).is_ok());
}
