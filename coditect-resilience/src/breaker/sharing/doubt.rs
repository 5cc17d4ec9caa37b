//! Whose word on which callee was disproved by this process's own calls.

use std::collections::{HashMap, HashSet};

use super::store::{BreakerNotice, Finding};

/// Keeps in mind who was wrong, or has failed for a reason of its own: as long as such a process goes on failing it says so
/// again and again, and each time all others would have to find out anew that they need not stay away.
#[derive(Debug)]
pub(super) struct Doubts {
    /// Who was believed last, by name, until this process finds out itself.
    believed: HashMap<String, u64>,
    disproved: HashMap<String, HashSet<u64>>,
    /// How many names and, of each, origins are kept in mind.
    limit: usize,
}

impl Doubts {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            believed: HashMap::new(),
            disproved: HashMap::new(),
            limit,
        }
    }

    /// Says whether to act on what another process says.
    pub(super) fn believes(&mut self, notice: &BreakerNotice) -> bool {
        let (name, origin) = (&notice.name, notice.origin);
        match notice.finding {
            Finding::Closed => {
                if let Some(origins) = self.disproved.get_mut(name) {
                    origins.remove(&origin);
                }
                true
            }
            Finding::Open if self.is_disproved(name, origin) => false,
            Finding::Open => {
                make_room(&mut self.believed, self.limit);
                self.believed.insert(name.clone(), origin);
                true
            }
        }
    }

    /// Takes in what this process has found out by its own calls.
    pub(super) fn found(&mut self, name: &str, finding: Finding) {
        let believed = self.believed.remove(name);
        match (finding, believed) {
            (Finding::Open, _) => {
                self.disproved.remove(name);
            }
            (Finding::Closed, Some(origin)) => {
                make_room(&mut self.disproved, self.limit);
                let origins = self.disproved.entry(name.to_owned()).or_default();
                if origins.len() >= self.limit {
                    origins.clear();
                }
                origins.insert(origin);
            }
            (Finding::Closed, None) => {}
        }
    }

    fn is_disproved(&self, name: &str, origin: u64) -> bool {
        let origins = self.disproved.get(name);
        origins.is_some_and(|origins| origins.contains(&origin))
    }
}

/// Forgets all where there are too many: believing costs a probe.
fn make_room<V>(kept: &mut HashMap<String, V>, limit: usize) {
    if kept.len() >= limit {
        kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn says(origin: u64, finding: Finding) -> BreakerNotice {
        BreakerNotice {
            name: "billing".to_owned(),
            origin,
            sequence: 1,
            finding,
            left: Duration::from_secs(1),
        }
    }

    #[test]
    fn whose_word_was_disproved_is_believed_again_once_it_was_well_or_right() {
        let mut doubts = Doubts::new(10);
        assert!(doubts.believes(&says(1, Finding::Open)));
        doubts.found("billing", Finding::Closed);
        assert!(!doubts.believes(&says(1, Finding::Open)));
        assert!(doubts.believes(&says(2, Finding::Open)));
        assert!(doubts.believes(&says(1, Finding::Closed)));
        assert!(doubts.believes(&says(1, Finding::Open)));
        doubts.found("billing", Finding::Closed);
        assert!(!doubts.believes(&says(1, Finding::Open)));
        doubts.found("billing", Finding::Open);
        assert!(doubts.believes(&says(1, Finding::Open)));
    }

    #[test]
    fn however_many_were_wrong_so_many_are_kept_in_mind() {
        let mut doubts = Doubts::new(10);
        for origin in 0..100 {
            doubts.believes(&says(origin, Finding::Open));
            doubts.found("billing", Finding::Closed);
        }
        assert!(doubts.disproved["billing"].len() <= 10);
    }
}
