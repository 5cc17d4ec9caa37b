//! One run is one trace, through orchestrators, agents and the requests between them.

use coditect_core::Error;
use coditect_core::prelude::*;
use coditect_core::telemetry::{Telemetry, TraceContext};
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::Instrument;

use crate::agents::{EVERYWHERE, PAIR, runtime};
use crate::stage::{Notes, within};

#[path = "trace/agents.rs"]
mod agents;
mod stage;

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
