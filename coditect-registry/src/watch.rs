//! What watchers are told.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{BoxStream, Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::{AgentRecord, Health, Instance, Load, Verdict};

/// Yields the changes of a registry, in order, beginning with a resync.
///
/// Also a [`Stream`]. It ends only when the registry can tell nothing more, for instance because its connection is
/// gone for good; then call [`Registry::watch`](crate::Registry::watch) again.
pub struct Watch {
    events: BoxStream<'static, Event>,
}

impl Watch {
    /// Wraps a backend's stream of events, which must keep rules R11 and R12 of [`Registry`](crate::Registry).
    pub fn new(events: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self {
            events: events.boxed(),
        }
    }

    /// Waits for the next event; `None` when the watch has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: an event is lost only if it was returned.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }
}

impl Stream for Watch {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Numbers a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one with each change; after a resync it goes on from the number of the resync, which may be higher.
    pub sequence: u64,
    /// What has changed.
    pub change: Change,
}

/// Says what has changed in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// An instance has been registered.
    Added(Arc<AgentRecord>),
    /// The record of an instance has been replaced.
    Updated(Arc<AgentRecord>),
    /// A renewal has reported another load or health ([`AgentRecord::reported`]); nothing else has changed.
    Reported {
        /// Whose report it is.
        instance: Instance,
        /// Its load now.
        load: Load,
        /// Its health now.
        health: Health,
    },
    /// A checker has judged an instance ([`AgentRecord::judged`]); nothing else has changed.
    Judged {
        /// Whom it has judged.
        instance: Instance,
        /// What it has found; `None` if nothing is held against the instance any more.
        verdict: Option<Verdict>,
    },
    /// An instance is gone.
    Removed {
        /// Which one.
        instance: Instance,
        /// Why it is gone.
        reason: RemovalReason,
    },
    /// Everything there is: the watch begins here, or something before it was missed. Forget what you knew.
    Resync(Vec<Arc<AgentRecord>>),
    /// A resync of a registry that had lost its data: whoever is missing may just not have registered again.
    Reset(Vec<Arc<AgentRecord>>),
}

impl Change {
    /// Returns everything there is, if that is what the change tells.
    pub fn everything(&self) -> Option<&[Arc<AgentRecord>]> {
        match self {
            Self::Resync(records) | Self::Reset(records) => Some(records),
            _ => None,
        }
    }
}

/// Says why an instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RemovalReason {
    /// It did not renew its lease in time.
    Expired,
    /// It took its leave.
    Deregistered,
    /// A newer incarnation has taken its exclusive name.
    Replaced,
}
