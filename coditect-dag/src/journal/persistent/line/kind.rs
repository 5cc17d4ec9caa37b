//! The kinds of records as they lie in the store.

mod read;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::payload::Payload;
use super::End;
use crate::journal::RecordKind;
use crate::{Attempt, TaskId, Timestamp};

/// Is a [`RecordKind`] as it lies in the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind<'a> {
    Started,
    Rescheduled {
        start_at: Timestamp,
    },
    Dispatched {
        task: TaskId,
        attempt: Attempt,
        #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
        incarnation: Option<Cow<'a, str>>,
    },
    Claimed {
        task: TaskId,
        attempt: Attempt,
        #[serde(borrow)]
        incarnation: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease_ms: Option<u64>,
    },
    Granted {
        task: TaskId,
        attempt: Attempt,
        #[serde(borrow)]
        incarnation: Cow<'a, str>,
        lease_ms: u64,
        claim: u64,
    },
    Parked {
        task: TaskId,
        attempt: Attempt,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Succeeded {
        task: TaskId,
        attempt: Attempt,
        #[serde(borrow)]
        output: Payload<'a>,
    },
    Failed {
        task: TaskId,
        attempt: Attempt,
        #[serde(borrow)]
        failure: Payload<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    Lost {
        task: TaskId,
        attempt: Attempt,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Snoozed {
        task: TaskId,
        attempt: Attempt,
        until: Timestamp,
    },
    Expanded {
        task: TaskId,
        attempt: Attempt,
        #[serde(borrow)]
        plan: Payload<'a>,
    },
    Resolved {
        task: TaskId,
        #[serde(borrow)]
        output: Payload<'a>,
    },
    ScopeFailed {
        task: TaskId,
        #[serde(borrow)]
        failure: Payload<'a>,
    },
    Expired {
        task: TaskId,
    },
    Cancelled {
        task: TaskId,
    },
    RunCancelled {
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Unserved {
        task: TaskId,
    },
    Redriven {
        task: TaskId,
        #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
        input: Option<Payload<'a>>,
    },
    Aimed {
        task: TaskId,
        #[serde(borrow)]
        to: Cow<'a, str>,
    },
    Retried,
    Paused {
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Resumed,
    Prioritized {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        priority: u8,
    },
    Waiting {
        task: TaskId,
        attempt: Attempt,
    },
    Signalled {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        payload: Payload<'a>,
    },
    Patched {
        #[serde(borrow)]
        patch: Payload<'a>,
    },
    PatchRefused {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    #[serde(borrow)]
    Settled(End<'a>),
}

impl<'a> Kind<'a> {
    pub(super) fn new(kind: &'a RecordKind, inline: usize) -> Self {
        let content = |content: &'a Bytes| Payload::new(content, inline);
        let text = |text: &'a Arc<str>| Cow::Borrowed(&**text);
        match kind {
            RecordKind::Started => Self::Started,
            RecordKind::Rescheduled { start_at } => Self::Rescheduled {
                start_at: *start_at,
            },
            RecordKind::Dispatched {
                task,
                attempt,
                incarnation,
            } => Self::Dispatched {
                task: *task,
                attempt: *attempt,
                incarnation: incarnation.as_ref().map(text),
            },
            RecordKind::Claimed {
                task,
                attempt,
                incarnation,
                lease_ms,
            } => Self::Claimed {
                task: *task,
                attempt: *attempt,
                incarnation: text(incarnation),
                lease_ms: *lease_ms,
            },
            RecordKind::Granted {
                task,
                attempt,
                incarnation,
                lease_ms,
                claim,
            } => Self::Granted {
                task: *task,
                attempt: *attempt,
                incarnation: text(incarnation),
                lease_ms: *lease_ms,
                claim: *claim,
            },
            RecordKind::Parked {
                task,
                attempt,
                reason,
            } => Self::Parked {
                task: *task,
                attempt: *attempt,
                reason: text(reason),
            },
            RecordKind::Succeeded {
                task,
                attempt,
                output,
            } => Self::Succeeded {
                task: *task,
                attempt: *attempt,
                output: content(output),
            },
            RecordKind::Failed {
                task,
                attempt,
                failure,
                retry_at,
            } => Self::Failed {
                task: *task,
                attempt: *attempt,
                failure: content(failure),
                retry_at: *retry_at,
            },
            RecordKind::Lost {
                task,
                attempt,
                reason,
            } => Self::Lost {
                task: *task,
                attempt: *attempt,
                reason: text(reason),
            },
            RecordKind::Snoozed {
                task,
                attempt,
                until,
            } => Self::Snoozed {
                task: *task,
                attempt: *attempt,
                until: *until,
            },
            RecordKind::Expanded {
                task,
                attempt,
                plan,
            } => Self::Expanded {
                task: *task,
                attempt: *attempt,
                plan: content(plan),
            },
            RecordKind::Resolved { task, output } => Self::Resolved {
                task: *task,
                output: content(output),
            },
            RecordKind::ScopeFailed { task, failure } => Self::ScopeFailed {
                task: *task,
                failure: content(failure),
            },
            RecordKind::Expired { task } => Self::Expired { task: *task },
            RecordKind::Cancelled { task } => Self::Cancelled { task: *task },
            RecordKind::RunCancelled { reason } => Self::RunCancelled {
                reason: text(reason),
            },
            RecordKind::Unserved { task } => Self::Unserved { task: *task },
            RecordKind::Redriven { task, input } => Self::Redriven {
                task: *task,
                input: input.as_ref().map(content),
            },
            RecordKind::Aimed { task, to } => Self::Aimed {
                task: *task,
                to: text(to),
            },
            RecordKind::Retried => Self::Retried,
            RecordKind::Paused { reason } => Self::Paused {
                reason: text(reason),
            },
            RecordKind::Resumed => Self::Resumed,
            RecordKind::Prioritized { task, priority } => Self::Prioritized {
                task: *task,
                priority: *priority,
            },
            RecordKind::Waiting { task, attempt } => Self::Waiting {
                task: *task,
                attempt: *attempt,
            },
            RecordKind::Signalled { name, payload } => Self::Signalled {
                name: text(name),
                payload: content(payload),
            },
            RecordKind::Patched { patch } => Self::Patched {
                patch: content(patch),
            },
            RecordKind::PatchRefused { id, reason } => Self::PatchRefused {
                id: text(id),
                reason: text(reason),
            },
            RecordKind::Settled(settlement) => Self::Settled(End::new(settlement, inline)),
        }
    }
}
