//! What is true of a run that has ended.

use coditect_core::RunId;
use coditect_core::dag::journal::Settlement;

use super::handlers::Handlers;
use super::run::RunModel;
use crate::meddle::PatchScript;
use crate::workload::{Ending, RunScript};

impl RunModel {
    /// Compares how the run has ended with what its tasks have answered.
    pub(super) fn check_end(
        &self,
        run: RunId,
        settlement: Option<&Settlement>,
        script: Option<&RunScript>,
        handlers: &Handlers,
    ) -> Result<(), String> {
        if !self.is_settled() {
            return Err("it has ended, and no record says so".to_owned());
        }
        let Some(script) = script else {
            // One that a handler has asked for.
            return Ok(());
        };
        match settlement {
            None => Err("it has ended without a settlement".to_owned()),
            Some(Settlement::Failed { .. }) => Ok(()),
            Some(Settlement::Cancelled { .. }) if script.cancel_after.is_none() => {
                Err("nobody has cancelled it".to_owned())
            }
            Some(Settlement::Cancelled { .. }) => Ok(()),
            Some(Settlement::Succeeded { result }) => {
                if script.ending == Ending::All {
                    self.check_patches(run, script, handlers)?;
                }
                let roots = 0..script.tasks.len() as u32;
                let outputs: Vec<_> = roots.filter_map(|task| self.output_of(task)).collect();
                let text = String::from_utf8_lossy(result);
                let wrong = |error: serde_json::Error| format!("{error}: {text}");
                let right = match script.ending {
                    Ending::All => {
                        let result: Vec<u64> = serde_json::from_slice(result).map_err(wrong)?;
                        result == outputs
                    }
                    Ending::First => {
                        let result: u64 = serde_json::from_slice(result).map_err(wrong)?;
                        outputs.contains(&result)
                    }
                    Ending::Quorum(needed) => {
                        let result: Vec<u64> = serde_json::from_slice(result).map_err(wrong)?;
                        let known = result.iter().all(|value| outputs.contains(value));
                        result.len() == needed && known
                    }
                };
                match right {
                    true => Ok(()),
                    false => Err(format!(
                        "its result is {text}, and its tasks answered {outputs:?}"
                    )),
                }
            }
        }
    }
    /// Checks that all that was added and not taken out again has run, unless what it comes after has no output.
    fn check_patches(
        &self,
        run: RunId,
        script: &RunScript,
        handlers: &Handlers,
    ) -> Result<(), String> {
        for patch in self.patches_of(script) {
            let is_skipped = script.is_call(patch.after) && self.output_of(patch.after).is_none();
            let key = PatchScript::key(patch.number);
            let task = handlers.position_of(run, &key);
            // Whether one that had failed is open again is not known here.
            let has_run = |task| self.has_ended(task) || self.openings() > 0;
            if !is_skipped && !task.is_some_and(has_run) {
                return Err(format!("`{key}` was added, and has not run"));
            }
        }
        Ok(())
    }
}
