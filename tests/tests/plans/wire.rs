//! What flows between tasks, and mistakes in wiring them.

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, TaskState};

use crate::stage::{Gate, Notes, within};

const SQUARE: Call<u64, u64> = Call::new("square");
const SUM: Call<Vec<u64>, u64> = Call::new("sum");
const WRITE: Call<(String, u64), String> = Call::new("write");
const LIST: Call<(u64, Vec<u64>, String, Option<u64>), String> = Call::new("list");

async fn write((name, x): (String, u64)) -> Result<String, AgentError> {
    Ok(format!("{name}={x}"))
}

async fn list(parts: (u64, Vec<u64>, String, Option<u64>)) -> Result<String, AgentError> {
    Ok(format!("{parts:?}"))
}

async fn runtime() -> Result<Runtime, Error> {
    Runtime::builder()
        .agent(agent("square", async |x: u64| Ok::<_, AgentError>(x * x)))
        .agent(agent("sum", async |all: Vec<u64>| {
            Ok::<_, AgentError>(all.into_iter().sum::<u64>())
        }))
        .agent(agent("write", write))
        .agent(agent("list", list))
        .start()
        .await
}

#[tokio::test]
async fn a_fan_in_is_given_the_outputs_in_the_order_it_lists_them() -> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    let mut squares: Vec<_> = (0..100)
        .map(|x| plan.task(format!("square-{x}"), &SQUARE, x))
        .collect();
    squares.reverse();
    let total = plan.task("total", &SUM, &squares[..]);
    let seven = plan.value(7);
    let listed = plan.output::<(u64, u64)>((total, seven))?;
    let (total, seven) = runtime.submit_plan(listed).await?.result().await?;
    assert_eq!((total, seven), ((0..100).map(|x| x * x).sum(), 7));

    let mut plan = Plan::builder();
    let mut squares: Vec<_> = (0..5)
        .map(|x| plan.task(format!("square-{x}"), &SQUARE, x))
        .collect();
    squares.swap(0, 4);
    let run = runtime.submit_plan(plan.output(squares)?).await?;
    assert_eq!(run.result().await?, [16, 1, 4, 9, 0]);
    runtime.shutdown().await
}

#[tokio::test]
async fn tuples_mix_values_and_outputs_in_their_places() -> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    let name = plan.value("nine".to_owned());
    let nine = plan.task("nine", &SQUARE, 3);
    let text = plan.task("text", &WRITE, (name, nine.clone()));
    let all = plan.value(vec![1, 2]);
    let none = plan.value(None);
    let list = plan.task("list", &LIST, (nine, all, text, none));
    let run = runtime.submit_plan(plan.output::<String>(list)?).await?;
    assert_eq!(run.result().await?, r#"(9, [1, 2], "nine=9", None)"#);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_value_alone_is_an_input_and_an_output() -> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    let four = plan.value(4);
    let sixteen = plan.task("sixteen", &SQUARE, &four);
    let plan = plan.output::<(u64, u64)>((four, sixteen))?;
    assert_eq!(runtime.submit_plan(plan).await?.result().await?, (4, 16));
    runtime.shutdown().await
}

#[tokio::test]
async fn plans_without_tasks_answer_at_once() -> Result<(), Error> {
    let runtime = runtime().await?;
    let run = runtime
        .submit_plan(Plan::answer("known".to_owned())?)
        .await?;
    assert_eq!(run.result().await?, "known");
    assert!(run.report().await?.tasks.is_empty());

    let mut plan = Plan::builder();
    let value = plan.value(5_u64);
    let run = runtime.submit_plan(plan.output::<u64>(value)?).await?;
    assert_eq!(run.result().await?, 5);

    let empty: Vec<TaskRef<u64>> = Vec::new();
    let run = runtime
        .submit_plan(Plan::builder().output::<Vec<u64>>(empty)?)
        .await?;
    assert!(run.result().await?.is_empty());

    let run = runtime
        .submit_plan(Plan::builder().aggregate(collect_all::<u64>(), [])?)
        .await?;
    assert!(run.result().await?.is_empty());
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_for_those_it_comes_after_and_takes_nothing_of_them() -> Result<(), Error> {
    let gate = Gate::new();
    let (held, order) = (gate.clone(), Notes::new());
    let noted = order.clone();
    let note = move |context: TaskContext, x: u64| {
        let (gate, order) = (held.clone(), noted.clone());
        async move {
            order.push(context.key().to_owned());
            if x == 0 {
                gate.pass().await;
                order.push("released".to_owned());
            }
            Ok::<_, AgentError>(x)
        }
    };
    let runtime = Runtime::builder()
        .agent(agent("square", note))
        .start()
        .await?;
    let mut plan = Plan::builder();
    // Listed first, so that nothing but the edge can put it last.
    let last = plan.task("last", &SQUARE, 1);
    let first = plan.task("first", &SQUARE, 0);
    let free = plan.task("free", &SQUARE, 2);
    plan.after(&last, &first);
    let run = runtime
        .submit_plan(plan.output::<(u64, u64)>((last, free))?)
        .await?;
    gate.arrived(1).await;
    gate.open(1);
    assert_eq!(within(run.result()).await?, (1, 2));
    let order = order.all();
    let place = |key: &str| order.iter().position(|noted| noted == key).expect("it ran");
    assert!(place("released") < place("last"), "{order:?}");
    assert!(place("free") < place("last"), "{order:?}");
    runtime.shutdown().await
}

#[tokio::test]
async fn what_the_result_does_not_need_runs_all_the_same() -> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    let needed = plan.task("needed", &SQUARE, 2);
    plan.task("aside", &SQUARE, 3);
    let run = runtime.submit_plan(plan.output::<u64>(needed)?).await?;
    assert_eq!(run.result().await?, 4);
    assert_eq!(run.report().await?.count(TaskState::Succeeded), 2);
    runtime.shutdown().await
}

#[test]
fn a_key_used_twice_is_told_when_the_plan_ends() {
    let mut plan = Plan::builder();
    let one = plan.task("same", &SQUARE, 1);
    plan.task("same", &SQUARE, 2);
    let error = plan.output::<u64>(one).expect_err("two tasks have one key");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`same`"), "{error}");
}

#[test]
fn a_reference_of_another_plan_is_told_wherever_it_is_used() {
    let mut other = Plan::builder();
    let stranger = other.task("stranger", &SQUARE, 1);
    let invalid = |error: Error, place: &str| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(
            text.contains("another plan") && text.contains(place),
            "{text}"
        );
    };

    let mut plan = Plan::builder();
    let own = plan.task("own", &SQUARE, &stranger);
    invalid(plan.output::<u64>(own).expect_err("as input"), "own");

    let mut plan = Plan::builder();
    let own = plan.task("own", &SQUARE, 1);
    let both = plan.task("both", &SUM, vec![own.clone(), stranger.clone()]);
    invalid(plan.output::<u64>(both).expect_err("in a list"), "both");

    let mut plan = Plan::builder();
    let own = plan.task("own", &SQUARE, 1);
    plan.after(&own, &stranger);
    invalid(plan.output::<u64>(own).expect_err("as upstream"), "after");

    let mut plan = Plan::builder();
    plan.task("own", &SQUARE, 1);
    let error = plan.output::<u64>(&stranger).expect_err("as output");
    invalid(error, "output");

    let mut plan = Plan::builder();
    let own = plan.task("own", &SQUARE, 1);
    plan.configure(&stranger, |task| task.max_attempts(1));
    invalid(
        plan.output::<u64>(own).expect_err("in settings"),
        "configure",
    );

    let mut plan = Plan::builder();
    let own = plan.task("own", &SQUARE, 1);
    let error = plan
        .aggregate(collect_all(), [own, stranger])
        .expect_err("in an aggregation");
    invalid(error, "aggregate");
}

#[test]
fn a_value_is_no_task_to_wait_for_or_to_configure() {
    let mut plan = Plan::builder();
    let task = plan.task("task", &SQUARE, 1);
    let value = plan.value(1_u64);
    plan.after(&task, &value);
    let error = plan.output::<u64>(task).expect_err("a value never ends");
    assert!(error.to_string().contains("a value is none"), "{error}");
}
