//! Writing a context into headers and reading it back, whatever the headers are.

use super::context::TraceContext;

/// The name of the header that carries the trace and the parent span.
pub const TRACEPARENT: &str = "traceparent";

/// The name of the header that carries the vendors' state.
pub const TRACESTATE: &str = "tracestate";

impl TraceContext {
    /// Writes the context into headers, through a closure that sets one.
    ///
    /// A `tracestate` is written only if there is one. Headers are whatever the closure makes of them:
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use coditect_telemetry::TraceContext;
    ///
    /// let mut headers = HashMap::new();
    /// let context = TraceContext::generate();
    /// context.inject(|name, value| { headers.insert(name.to_owned(), value); });
    ///
    /// let received = TraceContext::extract(|name| headers.get(name).map(String::as_str));
    /// assert_eq!(received, Some(context));
    /// ```
    pub fn inject(&self, mut set: impl FnMut(&str, String)) {
        set(TRACEPARENT, self.traceparent());
        if let Some(state) = self.tracestate() {
            set(TRACESTATE, state.to_owned());
        }
    }

    /// Reads a context from headers, through a closure that looks one up.
    ///
    /// `None` if there is none, or one that cannot be read: what others send may be garbage, and then a new
    /// trace begins. The closure is asked for lower-case names.
    pub fn extract<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let context: Self = get(TRACEPARENT)?.parse().ok()?;
        Some(match get(TRACESTATE) {
            Some(state) => context.with_tracestate(state),
            None => context,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn extract(parent: &str, state: &str) -> Option<TraceContext> {
        let headers = HashMap::from([(TRACEPARENT, parent), (TRACESTATE, state)]);
        TraceContext::extract(|name| headers.get(name).copied())
    }

    #[test]
    fn a_broken_tracestate_does_not_break_the_trace() {
        let context = extract(PARENT, "NOT=valid").unwrap();
        assert_eq!(context.traceparent(), PARENT);
        assert_eq!(context.tracestate(), None);
    }

    #[test]
    fn without_a_traceparent_there_is_no_context() {
        assert_eq!(TraceContext::extract(|_| None), None);
        assert_eq!(extract("nonsense", "a=1"), None);
    }

    #[test]
    fn no_empty_tracestate_is_written() {
        let mut names = Vec::new();
        TraceContext::generate().inject(|name, _| names.push(name.to_owned()));
        assert_eq!(names, [TRACEPARENT]);
    }

    proptest! {
        #[test]
        fn whatever_is_received_never_panics(parent: String, state: String) {
            let _ = extract(&parent, &state);
            let _ = extract(PARENT, &state);
        }

        #[test]
        fn what_is_injected_is_extracted(key in "[a-z][a-z0-9_*/-]{0,20}", value in "[!-+.-<>-~]{1,20}") {
            let context = TraceContext::generate().with_tracestate(&format!("{key}={value}"));
            let mut headers = HashMap::new();
            context.inject(|name, value| { headers.insert(name.to_owned(), value); });
            prop_assert_eq!(headers.len(), 2);
            let received = TraceContext::extract(|name| headers.get(name).map(String::as_str));
            prop_assert_eq!(received, Some(context));
        }
    }
}
