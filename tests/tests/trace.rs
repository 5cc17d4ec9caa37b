//! One run is one trace, through orchestrators, agents and the requests between them.

use coditect_core::prelude::*;
use coditect_core::telemetry::{Telemetry, TraceContext};
use coditect_core::{Dispatch, Error};
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::Instrument;

use crate::stage::{Count, Notes, within};

mod stage;

const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

fn recording() -> (tracing::Dispatch, Telemetry, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let (dispatch, telemetry) = Telemetry::builder()
        .with_filter("info")
        .with_writer(std::io::sink)
        .with_tracer_provider(provider)
        .build()
        .expect("the set-up is sound");
    (dispatch, telemetry, exporter)
}

/// An orchestrator of two parents, each of which asks a child; one of the parents is tried twice.
async fn runtime(dispatch: Dispatch, seen: &Notes<Option<TraceContext>>) -> Result<Runtime, Error> {
    let tries = Count::default();
    let parent_seen = seen.clone();
    let child_seen = seen.clone();
    let parent = move |context: TaskContext, x: u64| {
        let (seen, tries) = (parent_seen.clone(), tries.clone());
        async move {
            seen.push(context.trace());
            let answer = context
                .request("child", &call::<u64, u64>("child"), x)
                .await?;
            if x == 1 && tries.add() == 1 {
                return Err(AgentError::retryable("again"));
            }
            Ok::<_, AgentError>(answer)
        }
    };
    let child = move |context: TaskContext, x: u64| {
        child_seen.push(context.trace());
        std::future::ready(Ok::<_, AgentError>(x))
    };
    let pair = async |_: TaskContext, (): ()| {
        let mut plan = Plan::builder();
        let one = plan.task("one", &call::<u64, u64>("parent"), 1);
        let two = plan.task("two", &call::<u64, u64>("parent"), 2);
        plan.output::<(u64, u64)>((one, two))
    };
    Runtime::builder()
        .agent(agent("parent", parent))
        .agent(agent("child", child))
        .orchestrator(orchestrator("pair", pair))
        .dispatch(dispatch)
        .start()
        .await
}

const PAIR: Call<(), (u64, u64)> = Call::new("pair");

fn of_trace(spans: &[SpanData], trace: TraceId) -> Vec<&SpanData> {
    let mine = spans
        .iter()
        .filter(|span| span.span_context.trace_id() == trace);
    mine.filter(|span| span.name == "attempt").collect()
}

fn field(span: &SpanData, name: &str) -> String {
    let found = span
        .attributes
        .iter()
        .find(|field| field.key.as_str() == name);
    found
        .map(|field| field.value.to_string())
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn every_attempt_of_a_run_and_of_its_children_is_in_the_trace_of_the_caller()
-> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (subscriber, telemetry, exporter) = recording();
        let seen = Notes::new();
        let noted = seen.clone();
        let caller = async move {
            let runtime = runtime(dispatch, &noted).await?;
            let (trace, pair) = async {
                let trace = TraceContext::current().expect("the caller's span is recorded");
                let run = runtime.submit(&PAIR, ()).await?;
                Ok::<_, Error>((trace, within(run.result()).await?))
            }
            .instrument(tracing::info_span!("caller"))
            .await?;
            // A run that somebody else submits is another trace.
            within(runtime.run(&call::<u64, u64>("child"), 9)).await?;
            runtime.shutdown().await?;
            Ok::<_, Error>((trace, pair))
        };
        let guard = tracing::dispatcher::set_default(&subscriber);
        let (trace, pair) = caller.await?;
        drop(guard);
        assert_eq!(pair, (1, 2));
        telemetry.flush();
        let spans = exporter
            .get_finished_spans()
            .expect("the exporter is there");
        let id = TraceId::from_hex(&trace.trace_id().to_string()).expect("it is hexadecimal");
        let attempts = of_trace(&spans, id);
        let mut told: Vec<_> = attempts
            .iter()
            .map(|span| {
                format!(
                    "{} {} {}",
                    field(span, "agent"),
                    field(span, "task"),
                    field(span, "attempt")
                )
            })
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                "child child 1",
                "child child 1",
                "pair pair 1",
                "parent one 1",
                "parent one 2",
                "parent two 1"
            ],
            "{dispatch:?}"
        );
        let other = spans.iter().filter(|span| span.name == "attempt").count();
        assert_eq!(other, 7, "the other run is traced apart");
        // Children are below the attempt that asked for them.
        let parents: Vec<_> = attempts
            .iter()
            .filter(|span| field(span, "agent") == "parent")
            .map(|span| span.span_context.span_id())
            .collect();
        for child in attempts
            .iter()
            .filter(|span| field(span, "agent") == "child")
        {
            assert!(parents.contains(&child.parent_span_id), "{child:?}");
        }
        let seen = seen.all();
        assert_eq!(seen.len(), 6);
        let inside = |context: &&Option<TraceContext>| {
            context
                .as_ref()
                .is_some_and(|context| context.trace_id() == trace.trace_id())
        };
        assert_eq!(seen.iter().filter(inside).count(), 5);
    }
    Ok(())
}

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
