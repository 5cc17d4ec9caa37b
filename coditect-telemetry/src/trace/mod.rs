//! W3C Trace Context: the identity of a trace, and how it travels.

mod carrier;
mod context;
mod hex;
mod span;
mod tracestate;

pub use carrier::{TRACEPARENT, TRACESTATE};
pub use context::{ParseTraceContextError, SpanId, TraceContext, TraceId};
pub(crate) use span::nearest_attached;
