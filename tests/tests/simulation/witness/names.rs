//! What records are called in the record of events.

use coditect_core::dag::journal::RecordKind;

/// What a record is called in the record of events.
pub(super) fn name_of(kind: &RecordKind) -> &'static str {
    match kind {
        RecordKind::Started => "+ started",
        RecordKind::Dispatched { .. } => "+ dispatched",
        RecordKind::Claimed { .. } => "+ claimed",
        RecordKind::Granted { .. } => "+ granted",
        RecordKind::Parked { .. } => "+ parked",
        RecordKind::Signalled { name, .. } if name.starts_with("ruling:") => "+ ruled",
        RecordKind::Signalled { .. } => "+ signalled",
        RecordKind::Succeeded { .. } => "+ succeeded",
        RecordKind::Failed { .. } => "+ failed",
        RecordKind::Lost { .. } => "+ lost",
        RecordKind::Snoozed { .. } => "+ snoozed",
        RecordKind::Aimed { .. } => "+ aimed",
        RecordKind::Expanded { .. } => "+ expanded",
        RecordKind::Resolved { .. } => "+ resolved",
        RecordKind::ScopeFailed { .. } => "+ scope failed",
        RecordKind::Expired { .. } => "+ expired",
        RecordKind::Cancelled { .. } => "+ cancelled",
        RecordKind::RunCancelled { .. } => "+ run cancelled",
        RecordKind::Settled(_) => "+ settled",
        RecordKind::Unserved { .. } => "+ unserved",
        RecordKind::Rescheduled { .. } => "+ rescheduled",
        RecordKind::Paused { .. } => "+ paused",
        RecordKind::Resumed => "+ resumed",
        RecordKind::Prioritized { .. } => "+ prioritized",
        RecordKind::Waiting { .. } => "+ waiting",
        RecordKind::Patched { .. } => "+ patched",
        RecordKind::PatchRefused { .. } => "+ patch refused",
        RecordKind::Redriven { .. } => "+ redriven",
        RecordKind::Retried => "+ retried",
    }
}
