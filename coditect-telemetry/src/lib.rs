//! Telemetry of CODITECT: tracing set-up and W3C trace context.
