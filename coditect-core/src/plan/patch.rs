//! Writing a patch: what is to change in the plan of a run that is under way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use coditect_dag::RunId;

use super::Call;
use super::builder::PlanBuilder;
use super::reference::{IntoInput, TaskRef};
use super::settings::TaskSettings;
use super::spec::{PlanSpec, TaskSpec};
use super::wait::{Approval, Decision, Wait};
use crate::error::Error;

/// A change of a plan under way, applied as a whole or not at all by [`RunHandle::patch`](crate::RunHandle::patch).
///
/// Tasks are added, and tasks that **have not begun** are given other inputs, settings or dependencies, or taken out. What
/// has begun stays as it is, and can be waited for.
///
/// Tasks of the plan are named by their keys. As in a [plan](crate::PlanBuilder), references are typed: whoever names a task
/// says by its call what it answers with, and a task that calls something else is refused.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
/// use coditect_core::Patch;
///
/// const COUNT: Call<String, u64> = Call::new("count");
/// const SUM: Call<Vec<u64>, u64> = Call::new("sum");
/// const GO: Signal<()> = Signal::new("go");
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// let mut plan = Plan::builder();
/// let one = plan.task("one", &COUNT, "a".to_owned());
/// let go = plan.wait("go", &GO);
/// let sum = plan.task("sum", &SUM, vec![one]);
/// plan.after(&sum, &go);
/// let plan: Plan<u64> = plan.output(sum)?;
///
/// let runtime = Runtime::builder()
///     .agent(agent("count", async |text: String| Ok::<_, AgentError>(text.len() as u64)))
///     .agent(agent("sum", async |counts: Vec<u64>| Ok::<_, AgentError>(counts.iter().sum::<u64>())))
///     .start()
///     .await?;
/// let run = runtime.submit_plan(plan).await?;
///
/// // One more text is to be counted, although the run is under way.
/// let mut patch = Patch::new();
/// let one = patch.existing("one", &COUNT);
/// let two = patch.task("two", &COUNT, "bcd".to_owned());
/// patch.replace("sum", &SUM, vec![one, two]);
/// assert_eq!(run.patch(&patch).await?, 1);
/// // It is the same patch, however often it is sent.
/// assert_eq!(run.patch(&patch).await?, 1);
///
/// run.signal(&GO, &()).await?;
/// assert_eq!(run.result().await?, 4);
/// # runtime.shutdown().await
/// # }
/// ```
pub struct Patch {
    pub(super) id: Arc<str>,
    pub(super) within: Option<String>,
    pub(super) expected: Option<u64>,
    /// The tasks that are added, and those of the plan that are named.
    pub(super) tasks: PlanBuilder,
    /// What is said of the named ones, by position among `tasks`.
    pub(super) named: BTreeMap<u32, Said>,
    /// Keys, and whether all goes that hangs on them.
    pub(super) removed: Vec<(Arc<str>, bool)>,
    /// What tasks no longer wait for, by position among `tasks`.
    pub(super) cut: BTreeMap<u32, Vec<u32>>,
}

/// What a patch says of a task that is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) input: bool,
    pub(super) settings: bool,
}

impl Default for Patch {
    fn default() -> Self {
        Self::new()
    }
}

impl Patch {
    /// Starts a change of the run's own plan.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: RunId::new().to_string().into(),
            within: None,
            expected: None,
            tasks: PlanBuilder::new(),
            named: BTreeMap::new(),
            removed: Vec::new(),
            cut: BTreeMap::new(),
        }
    }

    /// Starts a change of the plan that a task has answered with, by the keys that lead to it, joined by `/`.
    #[must_use]
    pub fn within(path: impl Into<String>) -> Self {
        let mut patch = Self::new();
        patch.within = Some(path.into());
        patch
    }

    /// Names the patch, so that it is applied once even if another process makes it again; where nothing is said, each has a
    /// name of its own. A run keeps the answer to each name, also where it was a refusal.
    pub fn id(&mut self, id: impl Into<Arc<str>>) -> &mut Self {
        self.id = id.into();
        self
    }

    /// Refuses the patch unless the graph is at this revision: 0 before the first patch of the run, one more after each.
    ///
    /// Where nothing is said, it is the revision that the run has when [`RunHandle::patch`](crate::RunHandle::patch) looks.
    pub fn expecting(&mut self, revision: u64) -> &mut Self {
        self.expected = Some(revision);
        self
    }

    /// Names a task of the plan by its key, for others to wait for or for changes.
    pub fn existing<I, O>(&mut self, key: impl Into<Arc<str>>, call: &Call<I, O>) -> TaskRef<O> {
        let key = key.into();
        let named = self.tasks.find(&key);
        let named = named.filter(|position| self.named.contains_key(position));
        let position = named.unwrap_or_else(|| {
            let task: TaskRef<O> = self.tasks.name(key, call.requirement());
            let position = task.position().unwrap_or(u32::MAX);
            self.named.insert(position, Said::default());
            position
        });
        self.tasks.reference(position)
    }

    /// Adds a task that calls a capability with an input, under a key that is new to the plan.
    pub fn task<I, O>(
        &mut self,
        key: impl Into<Arc<str>>,
        call: &Call<I, O>,
        input: impl IntoInput<I>,
    ) -> TaskRef<O> {
        self.tasks.task(key, call, input)
    }

    /// Adds a task that waits for a signal, as [`PlanBuilder::wait`].
    pub fn wait<T>(&mut self, key: impl Into<Arc<str>>, signal: impl Into<Wait<T>>) -> TaskRef<T> {
        self.tasks.wait(key, signal)
    }

    /// Adds a task that waits until a person has decided, as [`PlanBuilder::approval`].
    pub fn approval(&mut self, key: impl Into<Arc<str>>, approval: Approval) -> TaskRef<Decision> {
        self.tasks.approval(key, approval)
    }

    /// Makes a reference of a value, as [`PlanBuilder::value`].
    pub fn value<T: serde::Serialize>(&mut self, value: T) -> TaskRef<T> {
        self.tasks.value(value)
    }

    /// Makes one reference of many, as [`PlanBuilder::list`].
    pub fn list<T>(&mut self, tasks: impl IntoIterator<Item = TaskRef<T>>) -> TaskRef<Vec<T>> {
        self.tasks.list(tasks)
    }

    /// Gives a task of the plan that has not begun another input; it waits for the tasks that the new one is made of.
    ///
    /// What it waits for [besides](Self::after) stays.
    pub fn replace<I, O>(
        &mut self,
        key: impl Into<Arc<str>>,
        call: &Call<I, O>,
        input: impl IntoInput<I>,
    ) -> TaskRef<O> {
        let task = self.existing(key, call);
        if let Some(position) = task.position()
            && let Some(said) = self.named.get_mut(&position)
        {
            said.input = true;
            self.tasks.set_input(position, input);
        }
        task
    }

    /// Sets how a task is to be run, be it added or one of the plan that has not begun.
    ///
    /// `change` starts from settings that say nothing: what a task of the plan had is replaced as a whole. Deadlines count
    /// from the moment of the patch.
    pub fn configure<T>(
        &mut self,
        task: &TaskRef<T>,
        change: impl FnOnce(TaskSettings) -> TaskSettings,
    ) -> &mut Self {
        self.tasks.configure(task, change);
        let said = task.position().and_then(|task| self.named.get_mut(&task));
        if let Some(said) = said {
            said.settings = true;
        }
        self
    }

    /// Lets a task wait for another of which it takes nothing.
    pub fn after<T, U>(&mut self, task: &TaskRef<T>, upstream: &TaskRef<U>) -> &mut Self {
        self.tasks.after(task, upstream);
        self
    }

    /// Lets a task of the plan no longer wait for another of which it takes nothing.
    ///
    /// What a task takes as input it waits for: that ends by [another input](Self::replace).
    pub fn not_after<T, U>(&mut self, task: &TaskRef<T>, upstream: &TaskRef<U>) -> &mut Self {
        if let Some((task, upstream)) = self.tasks.positions("not_after", task, upstream) {
            self.cut.entry(task).or_default().push(upstream);
        }
        self
    }

    /// Takes a task out of the plan that has not begun.
    ///
    /// It ends as cancelled, counts for nothing, and stays out when the run is retried; its key is not free again. The patch
    /// is refused if another task, or the result of the plan, would still need it: either the patch gives those another
    /// input, or removes them, too.
    pub fn remove(&mut self, key: impl Into<Arc<str>>) -> &mut Self {
        self.removed.push((key.into(), false));
        self
    }

    /// Takes a task out of the plan that has not begun, with all that hangs on it.
    pub fn remove_with_downstream(&mut self, key: impl Into<Arc<str>>) -> &mut Self {
        self.removed.push((key.into(), true));
        self
    }

    /// What the patch is known by.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.id
    }

    /// The keys of the task whose plan is meant.
    pub(crate) fn path(&self) -> Option<&str> {
        self.within.as_deref()
    }

    /// Says what was wrong when the patch was written.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.tasks.mistake_made() {
            Some(mistake) => Err(Error::invalid(mistake.with_causes())),
            None => Ok(()),
        }
    }

    pub(super) fn spec(&self) -> &PlanSpec {
        self.tasks.spec()
    }

    /// What is said of a task of the plan; none for one that is added.
    pub(super) fn said(&self, position: u32) -> Option<Said> {
        self.named.get(&position).copied()
    }

    /// Says whether a task of the plan gets anything new.
    pub(super) fn changes(&self, position: u32, task: &TaskSpec) -> bool {
        let said = self.said(position).unwrap_or_default();
        let rewired = self.cut.contains_key(&position) || !task.after.is_empty();
        said.input || said.settings || rewired
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("id", &self.id)
            .field("within", &self.within)
            .field("expected", &self.expected)
            .field("tasks", &self.tasks)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}
