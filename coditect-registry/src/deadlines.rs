//! One deadline per instance, and the soonest of them.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use crate::Instance;

/// Keeps at most one deadline for each instance; every operation is O(log n).
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    of: HashMap<Instance, Instant>,
    order: BTreeSet<(Instant, Instance)>,
}

impl Deadlines {
    /// Sets the deadline of an instance, in place of the one it had.
    pub(crate) fn set(&mut self, instance: &Instance, at: Instant) {
        self.clear(instance);
        self.of.insert(instance.clone(), at);
        self.order.insert((at, instance.clone()));
    }

    /// Takes back the deadline of an instance; `false` if it had none.
    pub(crate) fn clear(&mut self, instance: &Instance) -> bool {
        let Some(at) = self.of.remove(instance) else {
            return false;
        };
        self.order.remove(&(at, instance.clone()))
    }

    /// Returns the soonest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out an instance whose deadline has come, the soonest first.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Instance> {
        if self.next()? > now {
            return None;
        }
        let (_, instance) = self.order.pop_first()?;
        self.of.remove(&instance);
        Some(instance)
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Incarnation;

    proptest! {
        #[test]
        fn each_comes_once_when_it_is_due(
            steps in prop::collection::vec((0..6u8, 0..20u64, 0..3u8), 1..80),
        ) {
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs(seconds);
            let incarnation = Incarnation::fresh();
            let instance = |n: u8| Instance::new(format!("a{n}").parse().unwrap(), incarnation);
            let (mut deadlines, mut model) = (Deadlines::default(), HashMap::new());
            for (n, time, kind) in steps {
                match kind {
                    0 => {
                        deadlines.set(&instance(n), at(time));
                        model.insert(instance(n), at(time));
                    }
                    1 => prop_assert_eq!(deadlines.clear(&instance(n)), model.remove(&instance(n)).is_some()),
                    _ => {
                        while let Some(due) = deadlines.pop(at(time)) {
                            prop_assert!(model.remove(&due).is_some_and(|deadline| deadline <= at(time)));
                        }
                        prop_assert!(model.values().all(|deadline| *deadline > at(time)));
                    }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
                prop_assert_eq!((deadlines.len(), deadlines.order.len()), (model.len(), model.len()));
            }
        }
    }
}
