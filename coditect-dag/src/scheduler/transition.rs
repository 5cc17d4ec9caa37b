//! The states of a task and the table of legal transitions, which no other file can change.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a task stands.
///
#[doc = include_str!("states.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum TaskState {
    /// Waits for its upstreams.
    Pending,
    /// Could run now and waits to be dispatched.
    Ready,
    /// An attempt is out, or the task's subtasks run.
    Running,
    /// Waits between two attempts.
    Backoff,
    /// Ended well (final).
    Succeeded,
    /// Ended badly (final).
    Failed,
    /// Was stopped because somebody, or nobody any more, wanted it (final).
    Cancelled,
    /// Never ran, because something it needed did not succeed (final).
    Skipped,
}

use TaskState::{Backoff, Cancelled, Failed, Pending, Ready, Running, Skipped, Succeeded};

/// Every legal transition, with what brings it about.
const TRANSITIONS: &[(TaskState, TaskState, &str)] = &[
    (Pending, Ready, "upstreams final"),
    (Pending, Failed, "deadline"),
    (Pending, Cancelled, "cancel"),
    (Pending, Skipped, "an upstream did not succeed"),
    (Ready, Running, "dispatched"),
    (Ready, Pending, "an upstream was redriven, patched"),
    (Ready, Failed, "deadline"),
    (Ready, Cancelled, "cancel"),
    (Running, Ready, "lost"),
    (Running, Backoff, "failed, snoozed"),
    (Running, Succeeded, "succeeded, resolved"),
    (Running, Failed, "failed finally, deadline"),
    (Running, Cancelled, "cancel"),
    (Backoff, Ready, "due"),
    (Backoff, Failed, "deadline"),
    (Backoff, Cancelled, "cancel"),
    (Failed, Ready, "redriven"),
    (Failed, Pending, "redriven or retried, upstreams open"),
    (Failed, Running, "retried, with its subtasks"),
    (Cancelled, Pending, "retried"),
    (Cancelled, Running, "retried, with its subtasks"),
    (Skipped, Pending, "an upstream was redriven, retried"),
];

/// `LEGAL[from]` has the bit `to` for every legal transition.
const LEGAL: [u8; TaskState::ALL.len()] = {
    let mut legal = [0; TaskState::ALL.len()];
    let mut i = 0;
    while i < TRANSITIONS.len() {
        legal[TRANSITIONS[i].0 as usize] |= 1 << TRANSITIONS[i].1 as u8;
        i += 1;
    }
    legal
};

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 8] = [
        Pending, Ready, Running, Backoff, Succeeded, Failed, Cancelled, Skipped,
    ];

    /// Tells whether the task has ended. Only a redrive or a retry of the run opens it again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Succeeded | Failed | Cancelled | Skipped)
    }

    /// Tells whether a task in this state may go over to another.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        LEGAL[self as usize] & (1 << to as u8) != 0
    }

    /// Draws all legal transitions as a Mermaid state diagram.
    #[must_use]
    pub fn diagram() -> String {
        let mut text = String::from("stateDiagram-v2\n    [*] --> Pending\n");
        for (from, to, why) in TRANSITIONS {
            text.push_str(&format!("    {from:?} --> {to:?}: {why}\n"));
        }
        for state in Self::ALL.into_iter().filter(|state| state.is_final()) {
            text.push_str(&format!("    {state:?} --> [*]\n"));
        }
        text
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pending => "pending",
            Ready => "ready",
            Running => "running",
            Backoff => "backoff",
            Succeeded => "succeeded",
            Failed => "failed",
            Cancelled => "cancelled",
            Skipped => "skipped",
        })
    }
}

/// The state of one task inside the scheduler; it changes by [`advance`](StateCell::advance) only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateCell(TaskState);

impl StateCell {
    pub(super) const fn new() -> Self {
        Self(Pending)
    }

    pub(super) const fn get(self) -> TaskState {
        self.0
    }

    /// Goes over to another state and returns the one before.
    ///
    /// The scheduler looks before it leaps, whatever the event; a transition that is not in the
    /// table would be a bug in this crate, and a wrong state must not reach a journal.
    #[inline]
    pub(super) fn advance(&mut self, to: TaskState) -> TaskState {
        let from = self.0;
        assert!(from.may_become(to), "illegal transition {from} to {to}");
        self.0 = to;
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_in_the_docs_is_the_table() {
        let picture = format!("```mermaid\n{}```\n", TaskState::diagram());
        if std::env::var_os("UPDATE_PICTURES").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scheduler/states.md");
            std::fs::write(path, &picture).unwrap();
        }
        assert_eq!(
            include_str!("states.md"),
            picture,
            "run the tests with UPDATE_PICTURES=1"
        );
    }

    #[test]
    fn the_table_has_each_transition_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (from, to, _) in TRANSITIONS {
            assert!(seen.insert((from, to)), "{from} to {to} twice");
            assert!(from.may_become(*to));
        }
        let legal = TaskState::ALL
            .iter()
            .flat_map(|from| TaskState::ALL.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(**to))
            .count();
        assert_eq!(legal, TRANSITIONS.len());
    }

    #[test]
    fn success_is_for_ever() {
        for to in TaskState::ALL {
            assert!(!Succeeded.may_become(to));
        }
    }

    #[test]
    #[should_panic(expected = "illegal transition pending to running")]
    fn an_illegal_transition_is_refused() {
        StateCell::new().advance(Running);
    }
}
