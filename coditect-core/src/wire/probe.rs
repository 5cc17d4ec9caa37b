//! A probe, which asks an instance for a sign of life, and the answer.

use coditect_bus::{ContentType, CorrelationId, Envelope, Priority};

use super::KIND;

/// What a probe is called in the header `coditect-kind`.
pub(crate) const PROBE: &str = "probe";

/// Asks for a sign of life; whoever sends it adds where to reply to and until when. It goes before all tasks.
pub(crate) fn probe() -> Envelope {
    Envelope::new("{}")
        .with_content_type(ContentType::JSON)
        .with_priority(Priority::P0)
        .with_header(KIND, PROBE)
}

/// The sign of life.
pub(crate) fn alive(correlation: Option<CorrelationId>) -> Envelope {
    let alive = Envelope::new("{}")
        .with_content_type(ContentType::JSON)
        .with_priority(Priority::P0)
        .with_header(KIND, "reply");
    match correlation {
        Some(correlation) => alive.with_correlation_id(correlation),
        None => alive,
    }
}
