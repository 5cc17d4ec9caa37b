//! Writing a plan: tasks, what they take from each other, and what comes out.

mod named;

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Call;
use super::reference::{IntoInput, TaskRef};
use super::settings::{FailurePolicy, TaskSettings};
use super::spec::{self, Binding, PlanSpec, ResultSpec, TaskSpec, WaitSpec};
use super::wait::{Approval, Decision, Wait};
use crate::aggregate::Aggregation;
use crate::error::Error;

/// A graph of tasks that answers with an `O`.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// const COUNT: Call<String, u64> = Call::new("count");
/// const SUM: Call<Vec<u64>, u64> = Call::new("sum");
///
/// # fn main() -> Result<(), coditect_core::Error> {
/// let mut plan = Plan::builder();
/// let counts: Vec<_> = ["one", "two"]
///     .into_iter()
///     .map(|text| plan.task(text, &COUNT, text.to_owned()))
///     .collect();
/// let total = plan.task("total", &SUM, counts);
/// let plan: Plan<u64> = plan.output(total)?;
/// assert_eq!(plan.len(), 3);
/// # Ok(())
/// # }
/// ```
pub struct Plan<O> {
    spec: PlanSpec,
    output: PhantomData<fn() -> O>,
}

impl Plan<()> {
    /// Starts an empty plan.
    #[must_use]
    pub fn builder() -> PlanBuilder {
        PlanBuilder::new()
    }
}

impl<O: serde::Serialize> Plan<O> {
    /// Makes a plan that needs no task because the answer is known.
    ///
    /// # Errors
    ///
    /// When the value cannot be written as JSON.
    pub fn answer(value: O) -> Result<Self, Error> {
        let value = spec::encode(&value).map_err(|error| {
            Error::invalid("the answer cannot be written as JSON").with_source(error)
        })?;
        Ok(Self::of(PlanSpec {
            result: ResultSpec::Output(Binding::Value(value)),
            ..PlanSpec::default()
        }))
    }
}

impl<O> Plan<O> {
    fn of(spec: PlanSpec) -> Self {
        Self {
            spec,
            output: PhantomData,
        }
    }

    /// Makes a plan of one call; it answers with what the call answers with.
    pub(crate) fn of_call<I: serde::Serialize>(
        call: &Call<I, O>,
        input: &I,
    ) -> Result<Self, Error> {
        let input = spec::encode(input).map_err(|error| {
            Error::invalid("the input cannot be written as JSON").with_source(error)
        })?;
        let name = call.requirement();
        let key = name.split('@').next().unwrap_or(name);
        Ok(Self::of(PlanSpec {
            calls: vec![name.to_owned()],
            settings: vec![TaskSettings::default()],
            tasks: vec![TaskSpec {
                key: key.into(),
                call: 0,
                settings: 0,
                input: Binding::Value(input),
                after: Vec::new(),
                wait: None,
            }],
            result: ResultSpec::Output(Binding::Task(0)),
            policy: FailurePolicy::default(),
        }))
    }

    /// How many tasks the plan has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spec.tasks.len()
    }

    /// Says whether the plan has no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spec.tasks.is_empty()
    }

    /// Sets what a failed task does to the others.
    #[must_use]
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.spec.policy = policy;
        self
    }

    pub(crate) fn into_spec(self) -> PlanSpec {
        self.spec
    }
}

impl<O> Clone for Plan<O> {
    fn clone(&self) -> Self {
        Self::of(self.spec.clone())
    }
}

impl<O> fmt::Debug for Plan<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("tasks", &self.len())
            .field("calls", &self.spec.calls)
            .field("policy", &self.spec.policy)
            .finish_non_exhaustive()
    }
}

/// Collects the tasks of a plan.
///
/// Mistakes (a key used twice, a reference from another plan, a value that is no JSON) are kept and
/// told by [`output`](PlanBuilder::output) or [`aggregate`](PlanBuilder::aggregate).
pub struct PlanBuilder {
    id: u64,
    spec: PlanSpec,
    calls: HashMap<String, u32>,
    keys: HashMap<Arc<str>, u32>,
    mistake: Option<Error>,
}

impl PlanBuilder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            spec: PlanSpec {
                settings: vec![TaskSettings::default()],
                ..PlanSpec::default()
            },
            calls: HashMap::new(),
            keys: HashMap::new(),
            mistake: None,
        }
    }

    /// Adds a task that calls a capability with an input, under a key of its own in this plan.
    pub fn task<I, O>(
        &mut self,
        key: impl Into<Arc<str>>,
        call: &Call<I, O>,
        input: impl IntoInput<I>,
    ) -> TaskRef<O> {
        let key = key.into();
        let input = self.input(&key, input);
        self.add(key, call.requirement(), input, None)
    }

    fn input<I>(&mut self, key: &str, input: impl IntoInput<I>) -> Binding {
        let input = input.into_input();
        for plan in input.plans {
            self.check_owner(plan, key);
        }
        input.binding.unwrap_or_else(|error| {
            self.mistake(|| {
                let message = format!("the input of task `{key}` cannot be written as JSON");
                Error::invalid(message).with_source(error)
            });
            Binding::Null
        })
    }

    /// Adds a task that waits for a signal, without a slot, and answers with what it brings.
    ///
    /// Takes a [`&Signal`](super::Signal), or what [`Signal::within`](super::Signal::within) makes of one. The name of
    /// the signal is its address in the run: [`RunHandle::signal`](crate::RunHandle::signal).
    pub fn wait<T>(&mut self, key: impl Into<Arc<str>>, signal: impl Into<Wait<T>>) -> TaskRef<T> {
        let (key, Wait { spec, mistake, .. }) = (key.into(), signal.into());
        if let Some(error) = mistake {
            self.mistake(|| {
                let message = format!("the default of task `{key}` cannot be written as JSON");
                Error::invalid(message).with_source(error)
            });
        }
        self.add(key, spec.capability(), Binding::Null, Some(Box::new(spec)))
    }

    /// Adds a task that waits until a person has decided, without a slot.
    ///
    /// The keys that lead to it are its address in the run: [`RunHandle::decide`](crate::RunHandle::decide).
    pub fn approval(&mut self, key: impl Into<Arc<str>>, approval: Approval) -> TaskRef<Decision> {
        let (key, Approval { spec, subject }) = (key.into(), approval);
        let (subject, plan) = subject.unwrap_or((Binding::Null, self.id));
        self.check_owner(plan, &key);
        self.add(key, spec.capability(), subject, Some(Box::new(spec)))
    }

    fn add<O>(
        &mut self,
        key: Arc<str>,
        capability: &str,
        input: Binding,
        wait: Option<Box<WaitSpec>>,
    ) -> TaskRef<O> {
        let position = u32::try_from(self.spec.tasks.len()).unwrap_or(u32::MAX);
        if self.keys.insert(Arc::clone(&key), position).is_some() {
            self.mistake(|| Error::invalid(format!("two tasks have the key `{key}`")));
        }
        let call = self.intern_call(capability);
        self.spec.tasks.push(TaskSpec {
            key,
            call,
            settings: 0,
            input,
            after: Vec::new(),
            wait,
        });
        TaskRef::of_task(self.id, position)
    }

    /// Makes a reference of a value, for tuples that mix values and references.
    pub fn value<T: serde::Serialize>(&mut self, value: T) -> TaskRef<T> {
        let binding = spec::encode(&value)
            .map(Binding::Value)
            .unwrap_or_else(|error| {
                self.mistake(|| {
                    Error::invalid("a value of the plan cannot be written as JSON")
                        .with_source(error)
                });
                Binding::Null
            });
        TaskRef::of_value(self.id, binding)
    }

    /// Makes one reference of many, for tuples that hold a list.
    ///
    /// As in any list, tasks that did not succeed are left out where the task that takes it runs all
    /// the same.
    pub fn list<T>(&mut self, tasks: impl IntoIterator<Item = TaskRef<T>>) -> TaskRef<Vec<T>> {
        let input = IntoInput::<Vec<T>>::into_input(tasks.into_iter().collect::<Vec<_>>());
        for plan in input.plans {
            self.check_owner(plan, "list");
        }
        // Only values can fail to be written, and these are references.
        TaskRef::of_value(self.id, input.binding.unwrap_or_default())
    }

    /// Sets how a task is to be run.
    pub fn configure<T>(
        &mut self,
        task: &TaskRef<T>,
        change: impl FnOnce(TaskSettings) -> TaskSettings,
    ) -> &mut Self {
        if let Some(position) = self.position(task, "configure") {
            let task = &self.spec.tasks[position as usize];
            let settings = change(self.spec.settings[task.settings as usize].clone());
            let index = self.intern_settings(settings);
            self.spec.tasks[position as usize].settings = index;
        }
        self
    }

    /// Lets a task wait for another of which it takes nothing.
    pub fn after<T, U>(&mut self, task: &TaskRef<T>, upstream: &TaskRef<U>) -> &mut Self {
        if let Some((task, upstream)) = self.positions("after", task, upstream) {
            self.spec.tasks[task as usize].after.push(upstream);
        }
        self
    }

    /// Ends the plan: it answers with what one value, or a list or tuple of references, stands for.
    ///
    /// # Errors
    ///
    /// The first mistake made while the plan was written. Cycles, which only [`after`](Self::after) can
    /// make, are found when the plan is submitted, or taken up as the answer of a task.
    pub fn output<O>(mut self, output: impl IntoInput<O>) -> Result<Plan<O>, Error> {
        let input = output.into_input();
        for plan in input.plans {
            self.check_owner(plan, "the output");
        }
        match input.binding {
            Ok(binding) => self.finish(ResultSpec::Output(binding)),
            Err(error) => {
                Err(Error::invalid("the output cannot be written as JSON").with_source(error))
            }
        }
    }

    /// Ends the plan: it answers with what an aggregator makes of the tasks' outcomes.
    ///
    /// # Errors
    ///
    /// The first mistake made while the plan was written.
    pub fn aggregate<I, O>(
        mut self,
        aggregation: Aggregation<I, O>,
        over: impl IntoIterator<Item = TaskRef<I>>,
    ) -> Result<Plan<O>, Error> {
        let over = over
            .into_iter()
            .filter_map(|task| self.position(&task, "aggregate"))
            .collect();
        self.finish(ResultSpec::Aggregate {
            name: aggregation.name,
            config: aggregation.config,
            over,
        })
    }

    fn finish<O>(self, result: ResultSpec) -> Result<Plan<O>, Error> {
        match self.mistake {
            Some(mistake) => Err(mistake),
            None => Ok(Plan::of(PlanSpec {
                result,
                ..self.spec
            })),
        }
    }

    fn intern_call(&mut self, requirement: &str) -> u32 {
        if let Some(index) = self.calls.get(requirement) {
            return *index;
        }
        let index = u32::try_from(self.spec.calls.len()).unwrap_or(u32::MAX);
        self.spec.calls.push(requirement.to_owned());
        self.calls.insert(requirement.to_owned(), index);
        index
    }

    fn intern_settings(&mut self, settings: TaskSettings) -> u32 {
        // Plans use few settings, and those used last most often.
        let known = self
            .spec
            .settings
            .iter()
            .rposition(|known| *known == settings);
        let index = known.unwrap_or_else(|| {
            self.spec.settings.push(settings);
            self.spec.settings.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn position<T>(&mut self, task: &TaskRef<T>, place: &str) -> Option<u32> {
        self.check_owner(task.plan(), place);
        if task.position().is_none() {
            self.mistake(|| Error::invalid(format!("`{place}` takes tasks, and a value is none")));
        }
        task.position().filter(|_| task.plan() == self.id)
    }

    fn check_owner(&mut self, plan: u64, place: &str) {
        if plan != self.id {
            self.mistake(|| Error::invalid(format!("`{place}` refers to a task of another plan")));
        }
    }

    fn mistake(&mut self, make: impl FnOnce() -> Error) {
        if self.mistake.is_none() {
            self.mistake = Some(make());
        }
    }
}

impl fmt::Debug for PlanBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanBuilder")
            .field("tasks", &self.spec.tasks.len())
            .field("mistake", &self.mistake)
            .finish_non_exhaustive()
    }
}
