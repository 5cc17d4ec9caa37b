//! A patch of the graph, without a thought for speed.

use super::*;

impl Model {
    /// Says whether a patch fits, by trying it on a copy.
    pub(in super::super) fn patch(&mut self, patch: &Patch<u8>) -> bool {
        let mut copy = self.clone();
        let fits = copy.try_patch(patch).is_some();
        if fits {
            *self = copy;
        }
        fits
    }

    fn try_patch(&mut self, patch: &Patch<u8>) -> Option<()> {
        let scope = match patch.scope {
            None => 0,
            Some(task) => self.tasks.get(task.index())?.expanded?,
        };
        let first = self.tasks.len();
        let own = |model: &Self, task: usize| model.tasks[task].scope == scope;
        let is_over = |model: &Self| {
            let mut tasks = (0..first).filter(|task| own(model, *task));
            tasks.all(|task| model.tasks[task].state.is_final())
        };
        if self.outcome.is_some()
            || self.scopes[scope].closed
            || self.scopes[scope].failed_fast
            || (scope > 0 && is_over(self))
            || patch.added.len() > self.limits.max_width as usize
            || patch.added.len() + first > self.limits.max_tasks as usize
        {
            return None;
        }
        for spec in &patch.added {
            self.add_task(*spec, scope, Vec::new());
        }
        let may_change = |model: &Self, task: usize| {
            let it = model.tasks.get(task)?;
            let fresh = it.attempt == 0 && matches!(it.state, Pending | Ready);
            (own(model, task) && fresh).then_some(())
        };
        for (position, (task, spec)) in patch.changed.iter().enumerate() {
            may_change(self, task.index())?;
            let twice = patch.changed[..position].iter().any(|it| it.0 == *task);
            if twice || patch.removed.contains(task) || task.index() >= first {
                return None;
            }
            self.tasks[task.index()].spec = *spec;
        }
        for (position, task) in patch.removed.iter().enumerate() {
            may_change(self, task.index())?;
            if patch.removed[..position].contains(task) || task.index() >= first {
                return None;
            }
        }
        for (upstream, task) in &patch.disconnected {
            may_change(self, task.index())?;
            let upstreams = &mut self.tasks[task.index()].upstreams;
            let at = upstreams.iter().position(|it| *it == upstream.index())?;
            upstreams.remove(at);
        }
        for (upstream, task) in &patch.connected {
            may_change(self, task.index())?;
            let from = self.tasks.get(upstream.index())?;
            let upstreams = &self.tasks[task.index()].upstreams;
            if from.scope != scope || from.removed || upstreams.contains(&upstream.index()) {
                return None;
            }
            self.tasks[task.index()].upstreams.push(upstream.index());
        }
        for removed in &patch.removed {
            let removed = removed.index();
            let waits = |task: &ModelTask| task.upstreams.contains(&removed);
            if !self.tasks[removed].upstreams.is_empty() || self.tasks.iter().any(waits) {
                return None;
            }
            self.tasks[removed].removed = true;
            self.tasks[removed].state = Cancelled;
        }
        for task in 0..self.tasks.len() {
            let touched = patch.connected.iter().any(|it| it.1.index() == task)
                || patch.changed.iter().any(|it| it.0.index() == task);
            if touched && self.is_broken(task) && !self.tolerates(task) {
                return None;
            }
            let waits = self.upstream_states(task).any(|state| !state.is_final());
            if touched && waits && self.tasks[task].state == Ready {
                self.tasks[task].state = Pending;
            }
        }
        self.is_acyclic().then_some(())
    }

    /// Takes away tasks that wait for nothing, until none does.
    fn is_acyclic(&self) -> bool {
        let mut left: Vec<usize> = (0..self.tasks.len()).collect();
        loop {
            let before = left.len();
            let here = left.clone();
            left.retain(|task| {
                let upstreams = &self.tasks[*task].upstreams;
                upstreams.iter().any(|upstream| here.contains(upstream))
            });
            if left.len() == before {
                return left.is_empty();
            }
        }
    }
}
