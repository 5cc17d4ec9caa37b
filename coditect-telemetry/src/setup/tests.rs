//! What lines look like, and what becomes of a wrong filter.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tracing::dispatcher;
use tracing::{Span, debug, error, info, info_span};

use super::*;
use crate::{ErrorKind, TraceContext};

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        let lines = self.text();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(builder: TelemetryBuilder, work: impl FnOnce()) -> Kept {
    let kept = Kept::default();
    let writer = kept.clone();
    let (dispatch, telemetry) = builder.with_writer(move || writer.clone()).build().unwrap();
    dispatcher::with_default(&dispatch, work);
    drop(telemetry);
    kept
}

fn json() -> TelemetryBuilder {
    Telemetry::builder()
        .with_service("audit")
        .with_format(Format::Json)
        .with_filter("info")
}

#[test]
fn compact_lines_are_short_and_without_colour_when_they_go_to_no_terminal() {
    let kept = written(Telemetry::builder().with_filter("info"), || {
        let _span = info_span!("task", name = "summarize").entered();
        info!(files = 3, "started");
        debug!("not at this level");
    });
    let text = kept.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("started") && text.contains("files=3"),
        "{text}"
    );
    assert!(text.contains("summarize"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn colour_can_be_asked_for() {
    let kept = written(
        Telemetry::builder().with_filter("info").with_ansi(true),
        || info!("started"),
    );
    assert!(kept.text().contains('\u{1b}'));
}

#[test]
fn a_json_line_has_its_members_and_its_spans_from_the_outside_in() {
    let kept = written(json(), || {
        let _run = info_span!("run", id = 7, state = tracing::field::Empty).entered();
        Span::current().record("state", "started");
        let _task = info_span!("task").entered();
        info!(
            files = 3,
            share = 0.5,
            wild = f64::NAN,
            done = false,
            below = -1,
            r#type = "rust",
            what = ?Some(1),
            "a \"quoted\"\nline"
        );
    });
    let [line] = <[Value; 1]>::try_from(kept.lines()).unwrap();
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["service"], "audit");
    assert_eq!(line["target"], "coditect_telemetry::setup::tests");
    assert_eq!(line["message"], "a \"quoted\"\nline");
    assert_eq!(
        line["fields"],
        serde_json::json!({
            "files": 3, "share": 0.5, "wild": "NaN", "done": false, "below": -1, "type": "rust", "what": "Some(1)",
        })
    );
    assert_eq!(
        line["spans"],
        serde_json::json!([
            {"name": "run", "fields": {"id": 7, "state": "started"}},
            {"name": "task"},
        ])
    );
    assert!(line.get("trace_id").is_none(), "there is no trace");
}

#[test]
fn an_error_is_written_with_what_caused_it() {
    let kept = written(json(), || {
        let cause = io::Error::other("the disk is full");
        let failure = Error::invalid_filter("x", cause);
        error!(error = &failure as &dyn std::error::Error);
    });
    let [line] = <[Value; 1]>::try_from(kept.lines()).unwrap();
    assert_eq!(
        line["fields"]["error"],
        "invalid log filter \"x\": the disk is full"
    );
    assert!(line.get("message").is_none());
}

#[test]
fn a_json_line_names_the_trace_that_was_attached_around_it() {
    let context = TraceContext::generate();
    let kept = written(json(), || {
        let outer = info_span!("task");
        assert!(context.attach(&outer));
        let _outer = outer.entered();
        let _inner = info_span!("step").entered();
        info!("within");
    });
    let [line] = <[Value; 1]>::try_from(kept.lines()).unwrap();
    assert_eq!(line["trace_id"], context.trace_id().to_string());
    assert_eq!(line["span_id"], context.span_id().to_string());
}

#[test]
fn a_json_line_names_the_recorded_span_when_spans_are_recorded() {
    let context = TraceContext::generate();
    let provider = SdkTracerProvider::builder().build();
    let mut seen = None;
    let kept = written(json().with_tracer_provider(provider), || {
        let span = info_span!("task");
        assert!(context.attach(&span));
        let _span = span.entered();
        seen = TraceContext::current();
        info!("within");
    });
    let [line] = <[Value; 1]>::try_from(kept.lines()).unwrap();
    let seen = seen.unwrap();
    assert_eq!(seen.trace_id(), context.trace_id());
    assert_ne!(seen.span_id(), context.span_id());
    assert_eq!(line["trace_id"], seen.trace_id().to_string());
    assert_eq!(line["span_id"], seen.span_id().to_string());
}

#[test]
fn a_wrong_filter_is_named() {
    let error = Telemetry::builder()
        .with_filter("coditect=loud")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidFilter);
    assert_eq!(error.to_string(), "invalid log filter \"coditect=loud\"");
    assert!(std::error::Error::source(&error).is_some());
    assert!(!error.is_retryable() && !error.outcome_unknown());
}

#[test]
fn a_service_has_a_name_even_if_nobody_gave_it_one() {
    assert!(!default_service().is_empty());
}
