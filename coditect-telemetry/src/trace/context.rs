//! The identity of a trace: what `traceparent` and `tracestate` say.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use serde::{Deserialize, Serialize};

use super::{hex, tracestate};

/// Identifies a trace: sixteen bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// Identifies a span within its trace: eight bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

/// Carries the identity of a trace from one process to the next, as W3C Trace Context defines it.
///
/// It holds the trace, the span that is the parent of whatever happens next, the flags, and the vendors' own
/// `tracestate`. It is small and cheap to clone.
///
/// As text it is a `traceparent` header, and serde keeps it as that text; the `tracestate` travels beside it
/// (see [`inject`](Self::inject)).
///
/// ```
/// use coditect_telemetry::TraceContext;
///
/// let context: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert!(context.is_sampled());
///
/// let child = context.child();
/// assert_eq!(child.trace_id(), context.trace_id());
/// assert_ne!(child.span_id(), context.span_id());
/// # Ok::<(), coditect_telemetry::ParseTraceContextError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
    tracestate: Option<Arc<str>>,
}

const SAMPLED: u8 = 0b01;
const RANDOM: u8 = 0b10;

/// `00-` + 32 digits + `-` + 16 digits + `-` + 2 digits.
const LENGTH: usize = 55;

impl TraceContext {
    /// Starts a new trace, sampled, with random ids.
    #[must_use]
    pub fn generate() -> Self {
        let ids = RandomIdGenerator::default();
        // The generator never yields zero, which would stand for no id.
        Self {
            trace_id: TraceId(ids.new_trace_id().to_bytes()),
            span_id: SpanId(ids.new_span_id().to_bytes()),
            flags: SAMPLED,
            tracestate: None,
        }
    }

    /// Continues the trace with a new span id, for work that is recorded nowhere else.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: SpanId(RandomIdGenerator::default().new_span_id().to_bytes()),
            ..self.clone()
        }
    }

    /// Assembles a context; `None` if an id is all zero. Unknown flags are cleared.
    pub(crate) fn from_parts(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) -> Option<Self> {
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(Self {
            trace_id: TraceId(trace_id),
            span_id: SpanId(span_id),
            flags: flags & (SAMPLED | RANDOM),
            tracestate: None,
        })
    }

    /// Adds the vendors' state; one that breaks the specification's rules is left out.
    #[must_use]
    pub fn with_tracestate(mut self, state: &str) -> Self {
        self.tracestate = tracestate::checked(state).map(Arc::from);
        self
    }

    /// Returns the id of the trace.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Returns the id of the span that is the parent of what happens next.
    #[must_use]
    pub const fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Returns the flags: bit 0 sampled, bit 1 random trace id.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Tells whether the caller may have recorded the trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the vendors' state, as it is sent on.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// Returns the context as the value of a `traceparent` header.
    #[must_use]
    pub fn traceparent(&self) -> String {
        // By hand, since it is written for every message and formatting costs several times as much.
        let mut text = String::with_capacity(LENGTH);
        text.push_str("00-");
        hex::write(&self.trace_id.0, &mut text);
        text.push('-');
        hex::write(&self.span_id.0, &mut text);
        text.push('-');
        hex::write(&[self.flags], &mut text);
        text
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self}")?;
        match &self.tracestate {
            Some(state) => write!(f, ", {state:?})"),
            None => f.write_str(")"),
        }
    }
}

impl FromStr for TraceContext {
    type Err = ParseTraceContextError;

    /// Reads a `traceparent` strictly. A version above 00 is read as far as 00 goes, as the specification
    /// demands; anything else that differs is refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.as_bytes()).ok_or(ParseTraceContextError)
    }
}

fn parse(text: &[u8]) -> Option<TraceContext> {
    let (head, tail) = text.split_at_checked(LENGTH)?;
    let [version] = hex::read::<1>(&head[..2])?;
    let more_is_allowed = version != 0 && tail.first() == Some(&b'-');
    if version == 0xff || !(tail.is_empty() || more_is_allowed) {
        return None;
    }
    if [head[2], head[35], head[52]] != *b"---" {
        return None;
    }
    let [flags] = hex::read::<1>(&head[53..])?;
    TraceContext::from_parts(hex::read(&head[3..35])?, hex::read(&head[36..52])?, flags)
}

impl TryFrom<String> for TraceContext {
    type Error = ParseTraceContextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.traceparent()
    }
}

impl TraceId {
    /// Returns the bytes of the id.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// Returns the bytes of the id.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

/// Says that a text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseTraceContextError;

impl fmt::Display for ParseTraceContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a traceparent looks like 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
    }
}

impl std::error::Error for ParseTraceContextError {}

#[cfg(test)]
mod tests;
