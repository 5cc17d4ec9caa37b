//! What a run may grow to.

use coditect_dag::Limits;
use serde::{Deserialize, Serialize};

/// Bounds what the plans of a run may add to it, so that no agent can make a run without end.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
/// use coditect_core::RunLimits;
///
/// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
/// const AUDIT: Call<String, u64> = Call::new("audit");
/// let limits = RunLimits::default().with_max_depth(2).with_max_tasks(10_000);
/// let run = runtime.submit(&AUDIT, "src".to_owned()).limits(limits).await?;
/// # let _ = run;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunLimits {
    /// How many plans may nest: a plan's task that answers with a plan, and so on; 8.
    pub max_depth: u32,
    /// How many tasks one plan may have; 1,000,000.
    pub max_width: u32,
    /// How many tasks the run may have in all; 10,000,000.
    pub max_tasks: u32,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            max_depth: 8,
            max_width: 1_000_000,
            max_tasks: 10_000_000,
        }
    }
}

impl RunLimits {
    /// Sets how many plans may nest.
    #[must_use]
    pub fn with_max_depth(mut self, plans: u32) -> Self {
        self.max_depth = plans;
        self
    }

    /// Sets how many tasks one plan may have.
    #[must_use]
    pub fn with_max_width(mut self, tasks: u32) -> Self {
        self.max_width = tasks;
        self
    }

    /// Sets how many tasks the run may have in all.
    #[must_use]
    pub fn with_max_tasks(mut self, tasks: u32) -> Self {
        self.max_tasks = tasks;
        self
    }

    pub(crate) fn to_scheduler(self) -> Limits {
        Limits {
            max_depth: self.max_depth,
            max_width: self.max_width,
            max_tasks: self.max_tasks,
        }
    }
}
