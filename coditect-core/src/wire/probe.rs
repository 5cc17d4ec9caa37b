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

#[cfg(test)]
mod tests {
    use coditect_registry::{AgentRecord, Incarnation};

    use super::*;
    use crate::wire::{own_queue, own_queue_of};

    #[test]
    fn a_probe_goes_before_all_tasks_and_its_answer_names_it() {
        let asked = probe();
        assert_eq!(asked.header(KIND), Some("probe"));
        assert_eq!(
            (asked.priority(), &asked.payload()[..]),
            (Priority::P0, &b"{}"[..])
        );
        let correlation = CorrelationId::from(asked.id());
        let answer = alive(Some(correlation.clone()));
        assert_eq!(answer.header(KIND), Some("reply"));
        assert_eq!(answer.correlation_id(), Some(&correlation));
    }

    #[test]
    fn a_record_has_a_queue_only_by_the_name_that_follows_from_it() {
        let record = AgentRecord::new("writer".parse().unwrap(), Incarnation::fresh());
        assert_eq!(own_queue_of(&record), None);
        let own = own_queue(record.agent(), record.incarnation()).unwrap();
        let stated = record.clone().with_endpoint(own.as_str());
        assert_eq!(own_queue_of(&stated), Some(own));
        // A record cannot have the tasks of others sent elsewhere.
        let strange = record.with_endpoint("capability.pay.v1");
        assert_eq!(own_queue_of(&strange), None);
    }
}
