//! A settled run that is opened again, without a thought for speed.

use super::*;

impl Model {
    /// Opens a settled run again, for one failed task or for all.
    pub(super) fn reopen(&mut self, only: Option<usize>) {
        let Some(path) = self.path(only) else { return };
        if self.outcome.take().is_none() {
            return;
        }
        self.verdict = None;
        self.paused = false;
        let mut open = vec![0];
        while let Some(scope) = open.pop() {
            self.scopes[scope].closed = false;
            self.scopes[scope].failed_fast = false;
            let on_path = path.iter().any(|task| self.tasks[*task].scope == scope);
            for position in 0..self.tasks.len() {
                let task = &mut self.tasks[position];
                let stays = task.state == Succeeded
                    || task.removed
                    || (task.state == Failed && on_path && !path.contains(&position));
                if task.scope != scope || stays {
                    continue;
                }
                task.failures = 0;
                task.losses = 0;
                task.state = Pending;
                if let Some((within, attempt)) = task.last
                    && attempt == task.attempt
                    && only != Some(position)
                {
                    task.state = Running;
                    task.expanded = Some(within);
                    open.push(within);
                }
            }
        }
    }

    /// The task for which the run is to be opened and those around it, unless that would help nobody.
    fn path(&self, only: Option<usize>) -> Option<Vec<usize>> {
        let Some(mut task) = only else {
            return Some(Vec::new());
        };
        let mut path = vec![task];
        if self.tasks[task].state != Failed {
            return None;
        }
        loop {
            let scope = self.tasks[task].scope;
            let mut others =
                self.tasks.iter().enumerate().filter(|(other, it)| {
                    *other != task && it.scope == scope && it.state == Failed
                });
            if self.scopes[scope].policy == FailurePolicy::FailFast && others.next().is_some() {
                return None;
            }
            let Some(parent) = self.scopes[scope].parent else {
                return Some(path);
            };
            let around = &self.tasks[parent];
            if around.state == Succeeded || around.last != Some((scope, around.attempt)) {
                return None;
            }
            path.push(parent);
            task = parent;
        }
    }

    /// Tells whether nobody asks for a task any more: one around it has succeeded, or has expanded anew.
    pub(in super::super) fn is_history(&self, task: usize) -> bool {
        let Some(parent) = self.scopes[self.tasks[task].scope].parent else {
            return false;
        };
        let around = &self.tasks[parent];
        around.state == Succeeded
            || around.last != Some((self.tasks[task].scope, around.attempt))
            || self.is_history(parent)
    }
}
