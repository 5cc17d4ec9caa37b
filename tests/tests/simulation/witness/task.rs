//! What the journal of a run may hold of one task.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct TaskModel {
    pub(super) attempt: u32,
    /// Whether the attempt was handed out and has not ended.
    pub(super) open: bool,
    /// Whether the attempt is none, and waits for a signal.
    pub(super) waiting: bool,
    /// Whether the attempt has answered with a plan whose end is awaited.
    pub(super) expanded: bool,
    /// The last attempt that has answered with a plan.
    pub(super) last_expanded: u32,
    /// How it has ended for good.
    pub(super) ended: Option<&'static str>,
    pub(super) output: Option<u64>,
    /// To which claim of which process each attempt was granted.
    pub(super) granted: BTreeMap<u32, (String, u64)>,
    pub(super) parked: bool,
    /// What was ruled about attempts; none for what completes nothing.
    pub(super) ruled: BTreeMap<u32, Option<u64>>,
}

impl TaskModel {
    /// An attempt begins.
    pub(super) fn begin(&mut self, attempt: u32) -> Result<(), String> {
        self.living()?;
        let next = self.attempt + 1;
        if attempt != next || self.open || self.expanded {
            return Err(format!("attempt {next} should have been next"));
        }
        (self.attempt, self.open) = (next, true);
        Ok(())
    }

    /// The attempt ends.
    pub(super) fn close(&mut self, attempt: u32) -> Result<(), String> {
        self.living()?;
        if attempt != self.attempt || !self.open {
            let (current, open) = (self.attempt, self.open);
            return Err(format!(
                "attempt {attempt} is no longer open (the last is {current}, open: {open})"
            ));
        }
        self.open = false;
        self.waiting = false;
        self.parked = false;
        Ok(())
    }

    pub(super) fn living(&self) -> Result<(), String> {
        match self.ended {
            Some(ended) => Err(format!("the task had ended before: {ended}")),
            None => Ok(()),
        }
    }

    pub(super) fn end(&mut self, how: &'static str) {
        self.ended = Some(how);
        self.open = false;
        self.waiting = false;
        self.parked = false;
    }

    /// Whether the attempt takes a place among those that its run may have under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.open && !self.waiting && !self.parked
    }

    /// Whether somebody has ruled about an attempt, or about one after it, knowing of both.
    pub(super) fn was_ruled(&self, attempt: u32) -> bool {
        self.ruled.range(attempt..).next().is_some()
    }

    /// Whether an attempt may have done something of which nobody has said what it was.
    pub(super) fn has_begun(&self) -> bool {
        let mut granted = self.granted.keys();
        granted.any(|attempt| !self.was_ruled(*attempt))
    }

    /// A run was opened again that had not succeeded in this task; says by whose word, where that was about this task.
    pub(super) fn open_again(&mut self, is_meant: bool, asks_anew: bool) {
        self.expanded = self.last_expanded == self.attempt && self.attempt > 0 && !asks_anew;
        self.ended = None;
        self.open = false;
        self.waiting = false;
        self.parked = false;
        if is_meant {
            self.ruled.entry(self.attempt).or_insert(None);
        }
    }
}
