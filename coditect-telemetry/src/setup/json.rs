//! One JSON object for each event.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace::{TraceContext, nearest_attached};

/// Writes an event as one line of JSON.
pub(super) struct JsonFormat {
    service: String,
}

impl JsonFormat {
    pub(super) const fn new(service: String) -> Self {
        Self { service }
    }
}

/// The line. Members keep this order, so that a person finds their way too.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    service: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<Span>,
}

#[derive(Serialize)]
struct Span {
    name: &'static str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for JsonFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let context = recorded().or_else(|| nearest_attached(ctx.event_scope()?));
        let metadata = event.metadata();
        let line = Line {
            timestamp,
            level: metadata.level().as_str(),
            service: &self.service,
            target: metadata.target(),
            message: fields.0.remove("message"),
            trace_id: context
                .as_ref()
                .map(|context| context.trace_id().to_string()),
            span_id: context
                .as_ref()
                .map(|context| context.span_id().to_string()),
            fields: fields.0,
            spans: spans::<S, N>(ctx),
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// The span that an OpenTelemetry layer has entered on this thread.
fn recorded() -> Option<TraceContext> {
    opentelemetry::Context::map_current(|context| {
        TraceContext::from_opentelemetry(context.span().span_context())
    })
}

fn spans<S, N>(ctx: &FmtContext<'_, S, N>) -> Vec<Span>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let Some(scope) = ctx.event_scope() else {
        return Vec::new();
    };
    let span = |span: tracing_subscriber::registry::SpanRef<'_, S>| Span {
        name: span.name(),
        // The fields were written as JSON when the span was made or changed.
        fields: span
            .extensions()
            .get::<FormattedFields<N>>()
            .and_then(|fields| serde_json::from_str(&fields.fields).ok())
            .unwrap_or_default(),
    };
    scope.from_root().map(span).collect()
}

/// The fields of an event, each in the JSON type that fits it.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        // A raw identifier such as `r#type` is meant as `type`.
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN; text keeps them.
        match serde_json::Number::from_f64(value) {
            Some(number) => self.put(field, number),
            None => self.put(field, value.to_string()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.put(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
