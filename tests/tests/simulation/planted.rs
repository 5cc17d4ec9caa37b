//! Faults that break a promise, planted to show that the witness sees them.

/// A component that does not keep its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// The bus confirms messages and drops them.
    BusDropsConfirmed,
    /// The journal takes appends under tokens that are stale.
    JournalTakesStaleTokens,
    /// The journal says that it has appended and has not.
    JournalForgetsAppends,
    /// The journal accepts runs and does not keep them.
    JournalForgetsRuns,
    /// An owner accepts a second completion of a task.
    SecondCompletion,
    /// An owner accepts an outcome that no attempt had.
    ForgedOutcome,
    /// The bus lets every claim be granted.
    GrantsForged,
    /// A step that was kept is done again by the next attempt.
    StepsForgotten,
}
