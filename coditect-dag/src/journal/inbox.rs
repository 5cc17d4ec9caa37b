//! What goes into a partition: entries of its inbox from anybody, batches of records from its owner.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::text;
use crate::journal::{Record, Seq, Submission};
use crate::{Attempt, RunId, TaskId, Timestamp};

/// Asks the owner of a run to do something with it.
///
/// A command that comes again changes nothing: it names a state to be in, or what it was decided upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Ends the run without reaching its goal.
    Cancel {
        /// Why.
        reason: Arc<str>,
        /// When it was asked for.
        at: Timestamp,
    },
    /// Puts a task that ended badly back.
    Redrive {
        /// The task.
        task: TaskId,
        /// When it was asked for.
        at: Timestamp,
        /// The attempt that is to be followed by another, so that the wish is granted once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<Attempt>,
        /// What the task is given from now on, if that is not what its plan says.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "text::optional"
        )]
        input: Option<Bytes>,
        /// Who is to do it from now on, if that is not whom its plan says, in the caller's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Arc<str>>,
    },
    /// Opens a settled run again, for everything in it that did not succeed.
    Retry {
        /// The position of the settlement that is not to be the last word, so that the wish is granted once.
        settled: Seq,
        /// When it was asked for.
        at: Timestamp,
    },
    /// Starts a run at another time that waits for its start.
    Reschedule {
        /// When it is to start.
        start_at: Timestamp,
        /// When it was asked for.
        at: Timestamp,
    },
    /// Lets nothing more be handed out.
    Pause {
        /// Why.
        reason: Arc<str>,
        /// When it was asked for.
        at: Timestamp,
    },
    /// Lets what waits be handed out again.
    Resume {
        /// When it was asked for.
        at: Timestamp,
    },
    /// Gives a task another priority, or the run.
    Prioritize {
        /// The task; `None` for the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// The priority, in the caller's numbers.
        priority: u8,
        /// When it was asked for.
        at: Timestamp,
    },
    /// Brings a signal that a task waits for, or will.
    Signal {
        /// The signal's name within the run.
        name: Arc<str>,
        /// What it brings, in the caller's encoding.
        #[serde(with = "text")]
        payload: Bytes,
        /// When it was given.
        at: Timestamp,
    },
    /// Changes the graph of the run, or that of an expanded task.
    Patch {
        /// What changes, in the caller's encoding, which says by itself how the wish is granted once.
        #[serde(with = "text")]
        patch: Bytes,
        /// When it was asked for.
        at: Timestamp,
    },
}

impl Command {
    /// Asks that a task which ended badly be put back as it is, whichever attempt was its last.
    #[must_use]
    pub const fn redrive(task: TaskId, at: Timestamp) -> Self {
        Self::Redrive {
            task,
            at,
            attempt: None,
            input: None,
            to: None,
        }
    }
}

/// Waits in a partition's inbox until its owner has dealt with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its position in the inbox.
    pub seq: Seq,
    /// The run that it is about.
    pub run: RunId,
    /// What is asked.
    pub request: Request,
}

/// Is what an inbox entry asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A run was accepted and is to be taken in.
    Submit(Arc<Submission>),
    /// A run came from another journal, with its records, and is to be gone on with.
    Import,
    /// Something is to be done with a run.
    Command(Command),
}

/// Is what the owner of a partition commits in one step.
///
/// It keeps its memory when an append has emptied it, so that one batch serves many appends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    records: Vec<(RunId, Record)>,
    consumed: Vec<Seq>,
}

impl Batch {
    /// Makes an empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: Vec::new(),
            consumed: Vec::new(),
        }
    }

    /// Adds the next record of a run's log. Appends are fastest where a run's records stand together.
    pub fn push(&mut self, run: RunId, record: Record) {
        self.records.push((run, record));
    }

    /// Takes an entry out of the inbox with this append.
    pub fn consume(&mut self, seq: Seq) {
        self.consumed.push(seq);
    }

    /// Returns the records, in the order in which they will stand in the logs.
    #[must_use]
    pub fn records(&self) -> &[(RunId, Record)] {
        &self.records
    }

    /// Returns the inbox entries that this append takes out.
    #[must_use]
    pub fn consumed(&self) -> &[Seq] {
        &self.consumed
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there is nothing to commit: no record and no consumed entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.consumed.is_empty()
    }

    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.consumed.clear();
    }

    /// Hands the records out by value, for a backend that has accepted the batch.
    pub fn drain_records(&mut self) -> std::vec::Drain<'_, (RunId, Record)> {
        self.records.drain(..)
    }
}
