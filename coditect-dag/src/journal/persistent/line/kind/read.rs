//! The kinds of records as they were before they lay in the store.

use bytes::Bytes;
use coditect_state::Result;

use super::super::super::payload::BlobRef;
use super::super::{Decoded, owned, part};
use super::Kind;
use crate::journal::RecordKind;

impl Kind<'_> {
    pub(in crate::journal::persistent::line) fn into_kind(
        self,
        within: &Bytes,
    ) -> Result<(RecordKind, Option<BlobRef>)> {
        let kind = match self {
            Self::Started => RecordKind::Started,
            Self::Rescheduled { start_at } => RecordKind::Rescheduled { start_at },
            Self::Dispatched {
                task,
                attempt,
                incarnation,
            } => RecordKind::Dispatched {
                task,
                attempt,
                incarnation: incarnation.map(owned),
            },
            Self::Claimed {
                task,
                attempt,
                incarnation,
                lease_ms,
            } => RecordKind::Claimed {
                task,
                attempt,
                incarnation: owned(incarnation),
                lease_ms,
            },
            Self::Granted {
                task,
                attempt,
                incarnation,
                lease_ms,
                claim,
            } => RecordKind::Granted {
                task,
                attempt,
                incarnation: owned(incarnation),
                lease_ms,
                claim,
            },
            Self::Parked {
                task,
                attempt,
                reason,
            } => RecordKind::Parked {
                task,
                attempt,
                reason: owned(reason),
            },
            Self::Succeeded {
                task,
                attempt,
                output,
            } => {
                let (output, blob) = part(output, within)?;
                let kind = RecordKind::Succeeded {
                    task,
                    attempt,
                    output,
                };
                return Ok((kind, blob));
            }
            Self::Failed {
                task,
                attempt,
                failure,
                retry_at,
            } => {
                let (failure, blob) = part(failure, within)?;
                let kind = RecordKind::Failed {
                    task,
                    attempt,
                    failure,
                    retry_at,
                };
                return Ok((kind, blob));
            }
            Self::Lost {
                task,
                attempt,
                reason,
            } => RecordKind::Lost {
                task,
                attempt,
                reason: owned(reason),
            },
            Self::Snoozed {
                task,
                attempt,
                until,
            } => RecordKind::Snoozed {
                task,
                attempt,
                until,
            },
            Self::Expanded {
                task,
                attempt,
                plan,
            } => {
                let (plan, blob) = part(plan, within)?;
                let kind = RecordKind::Expanded {
                    task,
                    attempt,
                    plan,
                };
                return Ok((kind, blob));
            }
            Self::Resolved { task, output } => {
                let (output, blob) = part(output, within)?;
                return Ok((RecordKind::Resolved { task, output }, blob));
            }
            Self::ScopeFailed { task, failure } => {
                let (failure, blob) = part(failure, within)?;
                return Ok((RecordKind::ScopeFailed { task, failure }, blob));
            }
            Self::Expired { task } => RecordKind::Expired { task },
            Self::Cancelled { task } => RecordKind::Cancelled { task },
            Self::RunCancelled { reason } => RecordKind::RunCancelled {
                reason: owned(reason),
            },
            Self::Unserved { task } => RecordKind::Unserved { task },
            Self::Redriven { task, input: None } => RecordKind::redriven(task),
            Self::Redriven {
                task,
                input: Some(input),
            } => {
                let (input, blob) = part(input, within)?;
                let input = Some(input);
                return Ok((RecordKind::Redriven { task, input }, blob));
            }
            Self::Aimed { task, to } => RecordKind::Aimed {
                task,
                to: owned(to),
            },
            Self::Retried => RecordKind::Retried,
            Self::Paused { reason } => RecordKind::Paused {
                reason: owned(reason),
            },
            Self::Resumed => RecordKind::Resumed,
            Self::Prioritized { task, priority } => RecordKind::Prioritized { task, priority },
            Self::Waiting { task, attempt } => RecordKind::Waiting { task, attempt },
            Self::Signalled { name, payload } => {
                let (payload, blob) = part(payload, within)?;
                let name = owned(name);
                return Ok((RecordKind::Signalled { name, payload }, blob));
            }
            Self::Patched { patch } => {
                let (patch, blob) = part(patch, within)?;
                return Ok((RecordKind::Patched { patch }, blob));
            }
            Self::PatchRefused { id, reason } => RecordKind::PatchRefused {
                id: owned(id),
                reason: owned(reason),
            },
            Self::Settled(end) => {
                let Decoded { value, blob } = end.into_settlement(within)?;
                return Ok((RecordKind::Settled(value), blob));
            }
        };
        Ok((kind, None))
    }
}
