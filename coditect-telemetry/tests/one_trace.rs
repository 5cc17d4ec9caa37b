//! Spans of a producer and a consumer in different tasks belong to one trace.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use opentelemetry::trace::SpanId as OtelSpanId;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tokio::sync::mpsc;
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, Instrument, info_span};

use coditect_telemetry::{Telemetry, TraceContext};

/// What a bus would carry.
type Headers = Vec<(String, String)>;

fn recording() -> (Dispatch, Telemetry, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let (dispatch, telemetry) = Telemetry::builder()
        .with_filter("info")
        .with_writer(std::io::sink)
        .with_tracer_provider(provider)
        .build()
        .unwrap();
    (dispatch, telemetry, exporter)
}

fn send() -> Headers {
    let mut headers = Headers::new();
    if let Some(context) = TraceContext::current() {
        context.inject(|name, value| headers.push((name.to_owned(), value)));
    }
    headers
}

fn receive(headers: &Headers) -> Option<TraceContext> {
    TraceContext::extract(|name| {
        let (_, value) = headers.iter().find(|(header, _)| header == name)?;
        Some(value)
    })
}

fn span<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{name} among {spans:?}");
    named[0]
}

/// A submits to B, B hands on to C, each in a task of its own, with nothing but headers between them.
async fn relay() -> Option<TraceContext> {
    let (to_b, mut from_a) = mpsc::channel::<Headers>(1);
    let (to_c, mut from_b) = mpsc::channel::<Headers>(1);
    let agent = |name: &'static str, headers: &Headers| {
        let span = info_span!("agent", otel.name = name);
        if let Some(context) = receive(headers) {
            context.attach(&span);
        }
        span
    };
    let b = tokio::spawn(
        async move {
            let headers = from_a.recv().await.unwrap();
            let span = agent("b", &headers);
            async {
                tokio::task::yield_now().await;
                to_c.send(send()).await.unwrap();
            }
            .instrument(span)
            .await;
        }
        .with_current_subscriber(),
    );
    let c = tokio::spawn(
        async move {
            let headers = from_b.recv().await.unwrap();
            let span = agent("c", &headers);
            async {
                info_span!("step").in_scope(|| ());
                receive(&headers)
            }
            .instrument(span)
            .await
        }
        .with_current_subscriber(),
    );
    async { to_b.send(send()).await.unwrap() }
        .instrument(info_span!("a"))
        .await;
    b.await.unwrap();
    c.await.unwrap()
}

#[tokio::test]
async fn spans_across_tasks_share_one_trace_and_have_the_right_parents() {
    let (dispatch, telemetry, exporter) = recording();
    let received = relay().with_subscriber(dispatch).await.unwrap();
    telemetry.flush();

    let spans = exporter.get_finished_spans().unwrap();
    let (a, b, c) = (span(&spans, "a"), span(&spans, "b"), span(&spans, "c"));
    let step = span(&spans, "step");
    let trace = a.span_context.trace_id();
    assert!(
        [b, c, step]
            .iter()
            .all(|span| span.span_context.trace_id() == trace)
    );
    assert_eq!(received.trace_id().to_string(), trace.to_string());
    assert_eq!(a.parent_span_id, OtelSpanId::INVALID);
    assert_eq!(b.parent_span_id, a.span_context.span_id());
    assert_eq!(c.parent_span_id, b.span_context.span_id());
    assert_eq!(step.parent_span_id, c.span_context.span_id());
    assert!(b.parent_span_is_remote && c.parent_span_is_remote);
    assert!(!step.parent_span_is_remote);
}

#[tokio::test]
async fn a_trace_from_outside_goes_on_with_its_vendors_state() {
    let (dispatch, telemetry, exporter) = recording();
    let outside = TraceContext::generate().with_tracestate("vendor=abc");
    let sent = async {
        let span = info_span!("worker");
        assert!(outside.attach(&span));
        async { TraceContext::current() }.instrument(span).await
    };
    let sent = sent.with_subscriber(dispatch).await.unwrap();
    telemetry.flush();
    assert_eq!(sent.trace_id(), outside.trace_id());
    assert_ne!(sent.span_id(), outside.span_id());
    assert_eq!(sent.tracestate(), Some("vendor=abc"));
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(
        span(&spans, "worker").parent_span_id.to_string(),
        outside.span_id().to_string()
    );
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_carried_and_not_recorded() {
    let (dispatch, telemetry, exporter) = recording();
    let outside: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        .parse()
        .unwrap();
    let sent = async {
        let span = info_span!("worker");
        assert!(outside.attach(&span));
        async { TraceContext::current() }.instrument(span).await
    };
    let sent = sent.with_subscriber(dispatch).await.unwrap();
    telemetry.flush();
    assert_eq!(sent.trace_id(), outside.trace_id());
    assert!(!sent.is_sampled());
    assert!(exporter.get_finished_spans().unwrap().is_empty());
}

#[test]
fn dropping_telemetry_sends_out_what_was_recorded() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter.clone())
        .build();
    let (dispatch, telemetry) = Telemetry::builder()
        .with_filter("info")
        .with_writer(std::io::sink)
        .with_tracer_provider(provider.clone())
        .build()
        .unwrap();
    tracing::dispatcher::with_default(&dispatch, || info_span!("worker").in_scope(|| ()));
    drop(telemetry);
    // The provider is still alive, so that it is not its own end that sent the span.
    assert_eq!(exporter.get_finished_spans().unwrap().len(), 1);
    drop(provider);
}

#[tokio::test]
async fn a_span_that_has_started_takes_no_other_parent() {
    let (dispatch, _telemetry, _) = recording();
    tracing::dispatcher::with_default(&dispatch, || {
        let span = info_span!("worker");
        let own = TraceContext::of(&span).unwrap();
        assert!(!TraceContext::generate().attach(&span));
        assert_eq!(TraceContext::of(&span), Some(own));
    });
}

#[tokio::test]
async fn where_nothing_records_the_context_passes_through() {
    let (dispatch, _telemetry) = Telemetry::builder()
        .with_filter("info")
        .with_writer(std::io::sink)
        .build()
        .unwrap();
    let outside = TraceContext::generate().with_tracestate("vendor=abc");
    let work = async {
        assert_eq!(TraceContext::current(), None);
        let span = info_span!("worker");
        assert!(outside.attach(&span));
        async {
            let inner = info_span!("step");
            let _hidden = tracing::trace_span!("filtered out").entered();
            inner.in_scope(|| receive(&send()))
        }
        .instrument(span)
        .await
    };
    assert_eq!(work.with_subscriber(dispatch).await, Some(outside));
}

#[test]
fn where_nobody_listens_there_is_no_context_and_nothing_fails() {
    let span = info_span!("worker");
    assert!(!TraceContext::generate().attach(&span));
    assert_eq!(TraceContext::of(&span), None);
    assert_eq!(TraceContext::current(), None);
    assert!(send().is_empty());
}
