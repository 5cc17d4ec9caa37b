//! The tie between a context and the spans of `tracing`.

use opentelemetry::trace::{
    SpanContext, SpanId as OtelSpanId, TraceContextExt, TraceFlags, TraceId as OtelTraceId,
    TraceState,
};
use tracing::{Dispatch, Span, span};
use tracing_opentelemetry::{OpenTelemetrySpanExt, get_otel_context};
use tracing_subscriber::registry::{LookupSpan, Registry, SpanRef};

use super::context::TraceContext;

/// A context that was attached to a span, in the extensions of the span.
struct Attached(TraceContext);

impl TraceContext {
    /// Returns the context of the current span; see [`of`](Self::of).
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(&Span::current())
    }

    /// Returns the context to send along with a message that is sent within a span.
    ///
    /// With an OpenTelemetry layer it is the span's own, so that what the receiver does becomes its child. Without
    /// one it is the context that was [attached](Self::attach) to the span or to the nearest span around it: nothing
    /// is recorded here, and the trace passes through. `None` where neither is there, at the cost of looking.
    ///
    /// With an OpenTelemetry layer the span counts as started from here on, and its parent is settled.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        span.with_subscriber(|(id, dispatch)| {
            recorded(id, dispatch).or_else(|| {
                let registry = dispatch.downcast_ref::<Registry>()?;
                nearest_attached(registry.span(id)?.scope())
            })
        })
        .flatten()
    }

    /// Makes a span continue this trace. Call it before the span is entered for the first time.
    ///
    /// With an OpenTelemetry layer the span becomes a child of this context; in any case the
    /// context passes on to whatever is sent within the span, and its ids appear in JSON logs. Returns whether
    /// anything holds it: `false` if the span is filtered out, if nobody listens, or if an OpenTelemetry layer has started the
    /// span already.
    pub fn attach(&self, span: &Span) -> bool {
        if span.is_disabled() {
            return false;
        }
        let held = span.with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>()?;
            let span = registry.span(id)?;
            span.extensions_mut().replace(Attached(self.clone()));
            Some(())
        });
        let held = held.flatten().is_some();
        let parent = opentelemetry::Context::new().with_remote_span_context(self.into());
        match span.set_parent(parent) {
            Ok(()) => true,
            Err(tracing_opentelemetry::SetParentError::LayerNotFound) => held,
            Err(_) => false,
        }
    }
}

/// The context that an OpenTelemetry layer gave to a span.
fn recorded(id: &span::Id, dispatch: &Dispatch) -> Option<TraceContext> {
    let context = get_otel_context(id, dispatch)?;
    TraceContext::from_opentelemetry(context.span().span_context())
}

/// The context attached to the first span of a scope that has one.
pub(crate) fn nearest_attached<'a, S>(
    scope: impl Iterator<Item = SpanRef<'a, S>>,
) -> Option<TraceContext>
where
    S: LookupSpan<'a> + 'a,
{
    scope.into_iter().find_map(|span| {
        span.extensions()
            .get()
            .map(|Attached(context)| context.clone())
    })
}

impl TraceContext {
    /// Converts OpenTelemetry's form of a context; `None` if it stands for no trace.
    pub(crate) fn from_opentelemetry(context: &SpanContext) -> Option<Self> {
        let bare = Self::from_parts(
            context.trace_id().to_bytes(),
            context.span_id().to_bytes(),
            context.trace_flags().to_u8(),
        )?;
        let state = context.trace_state().header();
        Some(if state.is_empty() {
            bare
        } else {
            bare.with_tracestate(&state)
        })
    }
}

impl From<&TraceContext> for SpanContext {
    /// Converts a context that came from elsewhere into OpenTelemetry's form.
    fn from(context: &TraceContext) -> Self {
        let state = context.tracestate().unwrap_or_default().parse();
        Self::new(
            OtelTraceId::from_bytes(context.trace_id().to_bytes()),
            OtelSpanId::from_bytes(context.span_id().to_bytes()),
            TraceFlags::new(context.flags()),
            true,
            // OpenTelemetry has rules of its own; what breaks them is left out here and kept by us.
            state.unwrap_or(TraceState::NONE),
        )
    }
}
