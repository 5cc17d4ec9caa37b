//! Priorities and the turns in which they are served.

use serde::{Deserialize, Serialize};

/// Says how urgent a message is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// Urgent: served first.
    P0,
    /// Normal: what an envelope has unless told otherwise.
    #[default]
    P1,
    /// Background: served when there is nothing else, and never less than its share.
    P2,
}

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Self; 3] = [Self::P0, Self::P1, Self::P2];

    /// Returns the place of this priority in [`Priority::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Chooses which priority is served next, so that urgent work goes first and none starves.
///
/// Turns come in rounds of [`PriorityTurns::ROUND`] = 16: 12 belong to P0, 3 to P1 and 1 to P2. A turn whose owner has
/// nothing waiting goes to the most urgent priority that has. So while all three have a backlog, any 16 takes in
/// succession serve P0 12 times, P1 3 times and P2 once; P1 alone with P2 gets 15 of 16.
///
/// ```
/// use coditect_bus::{Priority, PriorityTurns};
///
/// let mut turns = PriorityTurns::default();
/// assert_eq!(turns.next([true, true, true]), Some(Priority::P0));
/// assert_eq!(turns.next([false, false, true]), Some(Priority::P2));
/// assert_eq!(turns.next([false, false, false]), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct PriorityTurns(u8);

/// The owner of each turn; the turns of P1 are spread evenly, and the first turns of a round are urgent.
const OWNERS: [Priority; 16] = {
    use Priority::{P0, P1, P2};
    [
        P0, P0, P0, P1, P0, P0, P0, P0, P1, P0, P0, P0, P0, P1, P0, P2,
    ]
};

impl PriorityTurns {
    /// The number of turns in a round.
    pub const ROUND: usize = OWNERS.len();

    /// Returns the priority to serve, given which ones have something waiting; `None` if none has.
    ///
    /// A turn is spent only when something is served.
    pub fn next(&mut self, waiting: [bool; 3]) -> Option<Priority> {
        let urgent = Priority::ALL
            .into_iter()
            .find(|priority| waiting[priority.index()])?;
        let owner = OWNERS[usize::from(self.0)];
        self.0 = (self.0 + 1) % OWNERS.len() as u8;
        Some(if waiting[owner.index()] {
            owner
        } else {
            urgent
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(takes: usize, start: usize, waiting: [bool; 3]) -> [usize; 3] {
        let mut turns = PriorityTurns::default();
        for _ in 0..start {
            turns.next([true; 3]);
        }
        let mut counts = [0; 3];
        for _ in 0..takes {
            counts[turns.next(waiting).unwrap().index()] += 1;
        }
        counts
    }

    #[test]
    fn any_sixteen_takes_in_succession_give_each_its_share() {
        for start in 0..PriorityTurns::ROUND {
            assert_eq!(served(16, start, [true; 3]), [12, 3, 1]);
            assert_eq!(served(16, start, [false, true, true]), [0, 15, 1]);
            assert_eq!(served(16, start, [true, false, true]), [15, 0, 1]);
        }
    }

    #[test]
    fn what_waits_alone_is_served_every_turn() {
        assert_eq!(served(40, 3, [false, false, true]), [0, 0, 40]);
    }
}
