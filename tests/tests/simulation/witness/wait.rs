//! What tasks may be given that wait for a signal, or for an approval.

use std::collections::BTreeMap;

use crate::approval::GATE;
use crate::workload::RunScript;

/// The first that came by each name; of an approval 1 where it was given, and 0 where it was not.
type Signals = BTreeMap<String, u64>;

/// Reads a decision.
pub(super) fn approves(payload: &[u8]) -> Result<bool, String> {
    let decision: serde_json::Value =
        serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let approved = decision["approved"].as_bool();
    approved.ok_or_else(|| format!("{decision} decides nothing"))
}

/// A task that waits for a signal is given a value.
pub(super) fn check_given(
    script: Option<&RunScript>,
    task: u32,
    signals: &Signals,
    value: u64,
) -> Result<(), String> {
    let wait = script.and_then(|script| script.tasks[task as usize].wait);
    let came = |name| signals.get(&format!("signal-{name}")).copied();
    match wait.and_then(|wait| came(wait.signal).or(wait.or)) {
        Some(expected) if expected == value => Ok(()),
        _ => Err(format!("it waits for {wait:?}, and is given {value}")),
    }
}

/// A task that waits for an approval succeeds.
pub(super) fn check_approved(script: Option<&RunScript>, signals: &Signals) -> Result<(), String> {
    match decided(script, signals) {
        Some(true) => Ok(()),
        decided => Err(format!("it is approved, and was decided {decided:?}")),
    }
}

/// A task that waits for an approval fails.
pub(super) fn check_rejected(script: Option<&RunScript>, signals: &Signals) -> Result<(), String> {
    match decided(script, signals) {
        Some(true) => Err("it is rejected, and was approved".to_owned()),
        // Without a decision its time is over.
        Some(false) | None => Ok(()),
    }
}

fn decided(script: Option<&RunScript>, signals: &Signals) -> Option<bool> {
    let came = signals.get(&format!("approval:{GATE}"));
    match came {
        Some(approved) => Some(*approved == 1),
        None => script?.gate?.or,
    }
}
