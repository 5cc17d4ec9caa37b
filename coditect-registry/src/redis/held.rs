//! What this process has registered, kept so that it can be registered again if Redis has lost it.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::{AgentRecord, FencingToken, Health, Instance, Load, Registration};

/// The registrations of this process that have not ended, as far as it knows.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_instance: Mutex<HashMap<Instance, Copy>>,
}

#[derive(Debug)]
struct Copy {
    token: FencingToken,
    record: AgentRecord,
    /// Which data the registration is in: data that begin anew are another epoch.
    epoch: String,
}

impl Held {
    pub(super) fn put(&self, of: &Registration, record: AgentRecord, epoch: String) {
        let copy = Copy {
            token: of.token,
            record,
            epoch,
        };
        self.by_instance.lock().insert(of.instance.clone(), copy);
    }

    /// Notes that a record has been replaced.
    pub(super) fn update(&self, of: &Registration, record: AgentRecord) {
        if let Some(copy) = self.by_instance.lock().get_mut(&of.instance)
            && copy.token == of.token
        {
            copy.record = record;
        }
    }

    /// Notes that a registration has ended.
    pub(super) fn forget(&self, of: &Registration) {
        let mut held = self.by_instance.lock();
        if held
            .get(&of.instance)
            .is_some_and(|copy| copy.token == of.token)
        {
            held.remove(&of.instance);
        }
    }

    /// Returns the record to bring back if a registration is missing in data of another epoch than its own: then it was
    /// lost with the data, and has neither expired nor been replaced.
    pub(super) fn lost_with_data(&self, of: &Registration, epoch: &str) -> Option<AgentRecord> {
        let held = self.by_instance.lock();
        let copy = held.get(&of.instance)?;
        (copy.token == of.token && copy.epoch != epoch).then(|| copy.record.clone())
    }

    /// Notes what a renewal has reported.
    pub(super) fn report(&self, of: &Registration, load: Load, health: Health) {
        if let Some(copy) = self.by_instance.lock().get_mut(&of.instance)
            && copy.token == of.token
            && (copy.record.load, copy.record.health) != (load, health)
        {
            copy.record = copy.record.reported(load, health);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Incarnation;

    fn registration(record: &AgentRecord, token: u64) -> Registration {
        Registration {
            instance: record.instance.clone(),
            token: FencingToken::new(token),
            ttl: Duration::from_secs(1),
        }
    }

    #[test]
    fn only_the_current_registration_comes_back_and_only_in_other_data() {
        let record = AgentRecord::new("a".parse().unwrap(), Incarnation::fresh());
        let (older, newer) = (registration(&record, 1), registration(&record, 2));
        let held = Held::default();
        held.put(&older, record.clone(), "1".to_owned());
        held.put(&newer, record.clone(), "1".to_owned());
        assert_eq!(held.lost_with_data(&newer, "1"), None);
        assert_eq!(held.lost_with_data(&older, "2"), None);
        held.report(&newer, Load::new(3, 4), Health::Degraded);
        held.report(&older, Load::new(9, 9), Health::Draining);
        let expected = record.reported(Load::new(3, 4), Health::Degraded);
        assert_eq!(held.lost_with_data(&newer, "2"), Some(expected));

        held.forget(&older);
        assert!(held.lost_with_data(&newer, "2").is_some());
        held.forget(&newer);
        assert_eq!(held.lost_with_data(&newer, "2"), None);
    }
}
