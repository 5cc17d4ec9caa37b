//! Where that lies in the state store which belongs to a run and goes when the run is forgotten.

use coditect_dag::{RunId, TaskId};
use coditect_state::key::Subspace;

/// What begins the keys of the blackboards of runs.
const BLACKBOARD: &str = "run";
/// What begins the keys of the steps of tasks.
const STEP: &str = "step";

/// Everything that belongs to runs, by name: what is of one lies below its UUID.
pub(crate) fn belongings() -> [(&'static str, Subspace); 2] {
    [BLACKBOARD, STEP].map(|name| (name, Subspace::new(&(name,))))
}

/// The blackboard of a run.
pub(super) fn blackboard(run: RunId) -> Subspace {
    Subspace::new(&(BLACKBOARD, run.as_uuid()))
}

/// The steps of a task, over all its attempts.
pub(super) fn steps(run: RunId, task: TaskId) -> Subspace {
    Subspace::new(&(STEP, run.as_uuid(), task.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_run_lies_below_its_id() {
        let run = RunId::new();
        let of_run = belongings().map(|(_, space)| space.child(&(run.as_uuid(),)));
        assert!(of_run[0].contains(&blackboard(run).pack(&("name",))));
        assert!(of_run[1].contains(&steps(run, TaskId::new(7)).pack(&("name",))));
        let other = steps(RunId::new(), TaskId::new(7)).pack(&("name",));
        assert!(!of_run.iter().any(|space| space.contains(&other)));
    }
}
