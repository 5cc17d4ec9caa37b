//! Plans that were checked: what comes from outside is looked at once, here.

use coditect_dag::{TaskGraph, TaskId};
use coditect_registry::Requirement;

use super::settings::TaskSettings;
use super::spec::{PlanSpec, ResultSpec, TaskSpec};
use crate::error::Error;

/// A plan whose positions, keys, capabilities and edges are known to be sound.
#[derive(Debug)]
pub(crate) struct PreparedPlan {
    spec: PlanSpec,
    requirements: Vec<Requirement>,
    graph: TaskGraph<()>,
}

impl PreparedPlan {
    /// Checks a plan as data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), naming the capability, position, key, or
    /// the path of the cycle.
    pub(crate) fn new(mut spec: PlanSpec) -> Result<Self, Error> {
        if spec.settings.is_empty() {
            spec.settings.push(TaskSettings::default());
        }
        let requirements = spec
            .calls
            .iter()
            .map(|call| {
                call.parse::<Requirement>().map_err(|error| {
                    Error::invalid(format!(
                        "`{call}` is no requirement such as `count` or `count@^1.2`"
                    ))
                    .with_source(error)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let graph = graph(&spec)?;
        check_result(&spec)?;
        Ok(Self {
            spec,
            requirements,
            graph,
        })
    }

    /// Reads and checks a plan.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, Error> {
        let spec = serde_json::from_slice(json)
            .map_err(|error| Error::invalid("the plan cannot be read").with_source(error))?;
        Self::new(spec)
    }

    pub(crate) fn spec(&self) -> &PlanSpec {
        &self.spec
    }

    pub(crate) fn graph(&self) -> &TaskGraph<()> {
        &self.graph
    }

    pub(crate) fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    pub(crate) fn task(&self, position: usize) -> &TaskSpec {
        &self.spec.tasks[position]
    }

    pub(crate) fn settings(&self, task: &TaskSpec) -> &TaskSettings {
        &self.spec.settings[task.settings as usize]
    }

    pub(crate) fn requirement(&self, task: &TaskSpec) -> &Requirement {
        &self.requirements[task.call as usize]
    }
}

fn graph(spec: &PlanSpec) -> Result<TaskGraph<()>, Error> {
    let count = spec.tasks.len();
    let mut builder = TaskGraph::builder();
    for task in &spec.tasks {
        if task.call as usize >= spec.calls.len() || task.settings as usize >= spec.settings.len() {
            return Err(Error::invalid(format!(
                "task `{}` refers to a capability or settings that the plan does not list",
                task.key
            )));
        }
        if let Some(wait) = &task.wait
            && wait.signal.is_some() == wait.approval.is_some()
        {
            return Err(Error::invalid(format!(
                "task `{}` must wait for either a signal or an approval",
                task.key
            )));
        }
        builder.task(&*task.key, ());
    }
    for (position, task) in spec.tasks.iter().enumerate() {
        let mut outside = None;
        let mut depend = |upstream: u32| {
            if (upstream as usize) < count {
                let position = u32::try_from(position).unwrap_or(u32::MAX);
                builder.depends_on(TaskId::new(position), TaskId::new(upstream));
            } else {
                outside = Some(upstream);
            }
        };
        task.input.for_each_task(&mut depend);
        task.after.iter().copied().for_each(&mut depend);
        if let Some(upstream) = outside {
            return Err(Error::invalid(format!(
                "task `{}` waits for task {upstream}, but the plan has only {count}",
                task.key
            )));
        }
    }
    builder
        .build()
        .map_err(|error| Error::invalid("the plan is no valid graph").with_source(error))
}

fn check_result(spec: &PlanSpec) -> Result<(), Error> {
    let mut outside = None;
    let mut check = |position: u32| {
        if position as usize >= spec.tasks.len() {
            outside = Some(position);
        }
    };
    match &spec.result {
        ResultSpec::Output(binding) => binding.for_each_task(&mut check),
        ResultSpec::Aggregate { over, .. } => over.iter().copied().for_each(&mut check),
    }
    match outside {
        Some(position) => Err(Error::invalid(format!(
            "the result refers to task {position}, but the plan has only {}",
            spec.tasks.len()
        ))),
        None => Ok(()),
    }
}
