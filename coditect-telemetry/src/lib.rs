//! Telemetry of CODITECT: tracing set-up and W3C trace context.
//!
//! A run crosses agents, queues, processes and machines. Two things make it readable afterwards: every part
//! of it logs in the same way, and every message says which trace it belongs to. This crate does both, and
//! depends on no other crate of the SDK.
//!
//! # Example
//!
//! ```
//! use std::collections::HashMap;
//!
//! use coditect_telemetry::{Format, Telemetry, TraceContext};
//! use tracing::{info, info_span};
//!
//! // In `main`: keep it to the end, and what is on its way is flushed.
//! let _telemetry = Telemetry::builder()
//!     .with_service("code-audit")
//!     .with_format(Format::Json)
//!     .install()?;
//!
//! // Where a message arrives: its span continues the trace of the sender.
//! let received = TraceContext::generate();
//! let span = info_span!("task", capability = "summarize");
//! received.attach(&span);
//! let _entered = span.entered();
//! info!("started"); // the line bears `trace_id` and `span_id`
//!
//! // Where a message is sent: it carries the context on, in whatever headers there are.
//! let mut headers = HashMap::new();
//! if let Some(context) = TraceContext::current() {
//!     context.inject(|name, value| { headers.insert(name.to_owned(), value); });
//! }
//!
//! let arrived = TraceContext::extract(|name| headers.get(name).map(String::as_str));
//! assert_eq!(arrived.map(|context| context.trace_id()), Some(received.trace_id()));
//! # Ok::<(), coditect_telemetry::Error>(())
//! ```
//!
//! # Set-up
//!
//! [`Telemetry::builder`] sets `tracing` up: compact lines for people, in colour on a terminal, or
//! [one JSON object a line](Format::Json) for machines. Lines go to standard error, so that standard output stays free for
//! results. `RUST_LOG` filters (`info` if it says nothing), and a filter that cannot be parsed is an error rather than silence.
//! A program that has a `tracing` subscriber of its own needs none of this: the SDK's spans and events go there.
//!
//! # Trace context
//!
//! [`TraceContext`] is what W3C Trace Context calls `traceparent` and `tracestate`. It is read strictly, and what
//! cannot be read is as good as absent: a message never fails for its trace. What
//! [`TraceContext::current`] finds depends on who listens:
//!
//! | set-up | what a message carries on |
//! |---|---|
//! | spans are recorded ([`with_tracer_provider`](TelemetryBuilder::with_tracer_provider)) | the current span, so that the receiver's span is its child |
//! | lines only | the context that was [attached](TraceContext::attach), unchanged: the trace passes through, as the specification asks of whoever records nothing |
//! | no subscriber | nothing, after one look: keep the received context and inject it yourself |
//!
//! Attach a context before its span is entered: once OpenTelemetry has started a span, its parent is settled.

mod error;
mod setup;
mod trace;

pub use error::{Error, ErrorKind};
pub use setup::{Format, Telemetry, TelemetryBuilder};
pub use trace::{ParseTraceContextError, SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
