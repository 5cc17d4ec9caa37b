//! Telemetry of CODITECT: tracing set-up and W3C trace context.

mod error;
mod setup;
mod trace;

pub use error::{Error, ErrorKind};
pub use setup::{Format, Telemetry, TelemetryBuilder};
pub use trace::{ParseTraceContextError, SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
