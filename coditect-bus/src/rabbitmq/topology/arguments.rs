//! The arguments that queues are declared with. Who changes one raises the version of the layout.

use super::*;

impl Topology {
    pub(super) fn work_arguments(
        &self,
        spec: &QueueSpec,
        source: Option<&Source>,
        obituary: &str,
    ) -> FieldTable {
        let mut arguments = Arguments::default();
        // One queue that refuses would refuse a message for all subscribers of a topic, so these drop their oldest.
        let rejects = spec.overflow() != OverflowPolicy::DropOldest && source.is_none();
        arguments.number("x-max-length", spec.capacity().get());
        arguments.text(
            "x-overflow",
            if rejects {
                "reject-publish"
            } else {
                "drop-head"
            },
        );
        arguments.text("x-dead-letter-exchange", &self.names.dead);
        arguments.text("x-dead-letter-routing-key", obituary);
        if self.kind_of(spec) == QueueKind::Quorum {
            arguments.text("x-queue-type", "quorum");
            arguments.number("x-delivery-limit", spec.max_deliveries().get() as usize - 1);
            if rejects {
                arguments.text("x-dead-letter-strategy", "at-least-once");
            }
        } else {
            arguments.text("x-queue-type", "classic");
        }
        if is_temporary(spec) {
            arguments.millis("x-expires", self.temporary_expiry);
        }
        arguments.0
    }

    pub(super) fn dead_arguments(&self, spec: &QueueSpec) -> FieldTable {
        /// Nobody may be there to renew it, as with a subscriber that never had a dead letter.
        const EXPIRY: Duration = Duration::from_secs(7 * 24 * 3_600);
        /// Looking at a dead letter is a delivery, too; and without any limit the broker would put it back at the end.
        const LOOKS: usize = 1_000_000_000;
        let mut arguments = Arguments::default();
        arguments.number("x-max-length", self.max_dead_letters);
        arguments.text("x-overflow", "drop-head");
        if self.kind_of(spec) == QueueKind::Quorum {
            arguments.text("x-queue-type", "quorum");
            arguments.number("x-delivery-limit", LOOKS);
        } else {
            arguments.text("x-queue-type", "classic");
        }
        if is_temporary(spec) {
            arguments.millis("x-expires", EXPIRY);
        }
        arguments.0
    }

    fn kind_of(&self, spec: &QueueSpec) -> QueueKind {
        if is_temporary(spec) {
            QueueKind::Classic
        } else {
            self.kind
        }
    }
}

/// The routing key of a queue's dead letters. It holds the whole specification, so that the broker, which compares arguments, finds
/// every difference, those included that mean nothing to it.
pub(super) fn obituary(spec: &QueueSpec) -> String {
    let overflow = match spec.overflow() {
        OverflowPolicy::Reject => "reject".to_owned(),
        OverflowPolicy::DropOldest => "drop".to_owned(),
        OverflowPolicy::Wait(patience) => format!("wait{}", patience.as_millis()),
    };
    let lifetime = if is_temporary(spec) {
        "temporary"
    } else {
        "durable"
    };
    let (name, deliveries) = (spec.name(), spec.max_deliveries());
    let full = format!(
        "{name}#{lifetime}.{}.{overflow}.d{deliveries}",
        spec.capacity()
    );
    if full.len() <= 255 {
        return full;
    }
    format!(
        "{}.d{deliveries}",
        Uuid::new_v5(&Uuid::NAMESPACE_OID, full.as_bytes())
    )
}

/// Reads how often a queue delivers a message from the routing key of its dead letters.
pub(in crate::rabbitmq) fn max_deliveries(obituary: &str) -> Option<u32> {
    obituary.rsplit_once(".d")?.1.parse().ok()
}

#[derive(Default)]
pub(super) struct Arguments(pub(super) FieldTable);

impl Arguments {
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.0
            .insert(name.into(), AMQPValue::LongString(value.into()));
    }

    pub(super) fn number(&mut self, name: &str, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.0.insert(name.into(), AMQPValue::LongLongInt(value));
    }

    pub(super) fn millis(&mut self, name: &str, span: Duration) {
        self.number(
            name,
            usize::try_from(span.as_millis()).unwrap_or(usize::MAX),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obituary_tells_specifications_apart_and_says_the_limit() {
        use std::num::{NonZeroU32, NonZeroUsize};
        let spec = QueueSpec::new(QueueName::new("q").unwrap());
        let others = [
            spec.clone().with_capacity(NonZeroUsize::MIN),
            spec.clone().with_overflow(OverflowPolicy::DropOldest),
            spec.clone()
                .with_overflow(OverflowPolicy::Wait(Duration::ZERO)),
            spec.clone().with_max_deliveries(NonZeroU32::MIN),
            QueueSpec::temporary(QueueName::new("q").unwrap()),
        ];
        for other in &others {
            assert_ne!(obituary(other), obituary(&spec));
        }
        assert_eq!(max_deliveries(&obituary(&spec)), Some(100));
        let long = QueueSpec::new(QueueName::new("q".repeat(200)).unwrap())
            .with_capacity(NonZeroUsize::MAX)
            .with_overflow(OverflowPolicy::Wait(Duration::MAX));
        assert!(obituary(&long).len() <= 255);
        assert_eq!(max_deliveries(&obituary(&long)), Some(100));
    }
}
