//! One audit as a run: submitted, followed, and turned into what the report shows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use coditect_core::prelude::*;
use coditect_core::state::StateStore;
use coditect_core::{RunEvent, RunId, RunReport, TaskReport, TaskState, shutdown_signal};

use crate::bus;
use crate::code_audit::INTERRUPTED;
use crate::code_audit::agents::{self, AUDIT, Analyst, AuditTask, FILE, PACKAGE};
use crate::code_audit::cli::Cli;
use crate::code_audit::language::Language;
use crate::code_audit::model::{AuditReport, FileReport, PackageTask};
use crate::code_audit::progress::Progress;
use crate::code_audit::run::{NodeKind, NodeState, RunNode, RunStatistics};
use crate::code_audit::state::{Kind, PARTITIONS};
use crate::code_audit::summary;
use crate::code_audit::waiting::Waiting;
use crate::code_audit::work::WorkerFigures;

/// What an audit came to.
pub(crate) struct Audited {
    pub(crate) report: AuditReport,
    pub(crate) run: RunStatistics,
    pub(crate) nodes: Vec<RunNode>,
    /// The run in the state file that is to be noted as reported, if there is one.
    pub(crate) kept: Option<(Arc<dyn StateStore>, RunId)>,
}

/// Audits what the command line asks for. Ctrl-C cancels the run, unless a file keeps it, and what was done is
/// reported; a second one ends the process at once.
pub(crate) async fn audit(cli: &Cli) -> anyhow::Result<Audited> {
    let interrupt = shutdown_signal();
    let path = cli
        .path
        .canonicalize()
        .with_context(|| format!("cannot audit {}", cli.path.display()))?;
    let kind = Kind {
        tree: path,
        carried: cli.bus().is_some(),
    };
    let begun = async {
        let unfinished = match cli.state() {
            Some(file) => file.unfinished(&kind).await?,
            None => None,
        };
        Ok::<_, anyhow::Error>((unfinished, start(cli).await?))
    };
    let (unfinished, runtime) = tokio::select! {
        begun = begun => begun?,
        () = interrupt => return Err(Interrupted.into()),
    };
    let interrupt = shutdown_signal();
    let run = match unfinished {
        Some(run) => runtime.attach(run),
        None => submit(&runtime, kind).await?,
    };
    let progress = Progress::start(cli.json);
    if unfinished.is_some() {
        let ended = run.report().await?.count(TaskState::Succeeded);
        progress.say(&format!(
            "going on with an audit of which {ended} tasks had ended"
        ));
    }
    let interrupted = tokio::select! {
        shown = show(&run, &progress, cli) => shown.map(|()| false)?,
        error = failed(cli, &runtime) => return Err(error),
        () = interrupt => {
            end_at_the_next_signal();
            if cli.state.is_none() {
                run.cancel("interrupted by the user").await?;
                run.settled().await?;
            }
            true
        }
    };
    progress.finish();
    if interrupted {
        // What is being analysed here is analysed to its end, and counts.
        bus::leave(&runtime).await?;
    }
    let done = run.report().await?;
    let report = if interrupted {
        partial(files(&runtime, &run, &done).await?, cli)
    } else {
        run.result().await.map_err(explain)?
    };
    let statistics = statistics(&runtime, &run, &done, cli, interrupted).await?;
    let kept = cli.state.is_some() && !interrupted;
    let kept = kept.then(|| (Arc::clone(runtime.store()), run.id()));
    if !interrupted {
        bus::leave(&runtime).await?;
    }
    Ok(Audited {
        report,
        run: statistics,
        nodes: nodes(&done),
        kept,
    })
}

async fn submit(runtime: &Runtime, kind: Kind) -> anyhow::Result<RunHandle<AuditReport>> {
    let task = AuditTask {
        path: kind.tree.clone(),
        carried: kind.carried,
    };
    Ok(kind.label(runtime.submit(&AUDIT, task)).await?)
}

/// Ends with the reason when the state file, if there is one, cannot be written any more.
async fn failed(cli: &Cli, runtime: &Runtime) -> anyhow::Error {
    match cli.state() {
        Some(file) => file.failed(&**runtime.store()).await,
        None => std::future::pending().await,
    }
}

/// Ctrl-C was pressed before there was anything to report on.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted before the audit began")
    }
}

impl std::error::Error for Interrupted {}

/// Starts what this process has to do: all of it, or, with workers on a bus, only what needs the tree.
async fn start(cli: &Cli) -> anyhow::Result<Runtime> {
    let jobs = cli.jobs()?;
    let mut runtime = agents::orchestrating(Runtime::builder(), cli.shown_path());
    if jobs > 0 {
        let analyst = Analyst::new(Language::ALL.to_vec(), jobs);
        runtime = agents::analysing(runtime, analyst);
    }
    if let Some(file) = cli.state() {
        runtime = runtime.state(file.url()?).partitions(PARTITIONS.get());
    }
    match cli.bus() {
        None if cli.registry.shared().is_some() => anyhow::bail!(
            "a registry finds agents in other processes, and needs a bus to reach them\n  \
             help: add --bus amqp://…, or leave out --registry and CODITECT_REGISTRY"
        ),
        None => runtime.start().await.map_err(|error| match cli.state() {
            Some(file) => file.explain(error),
            None => error.into(),
        }),
        Some(url) => {
            let mut runtime = runtime.bus(url.as_str());
            if let Some(registry) = cli.registry.shared() {
                runtime = runtime.registry(registry.as_str());
            }
            let started = runtime.start().await;
            started.map_err(|error| cli.registry.explain(url, error))
        }
    }
}

/// Who cancels may become impatient with what takes leave.
fn end_at_the_next_signal() {
    let signal = shutdown_signal();
    tokio::spawn(async move {
        signal.await;
        std::process::exit(INTERRUPTED.into());
    });
}

/// Moves the bar with the run's events until the run has ended, and says when it waits for workers.
async fn show(run: &RunHandle<AuditReport>, progress: &Progress, cli: &Cli) -> anyhow::Result<()> {
    let mut events = run.events().await?;
    let mut waiting = cli
        .bus()
        .map(|bus| Waiting::new(bus.clone(), cli.registry.shared().cloned()));
    progress.planned(1);
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            said = said(&mut waiting) => {
                progress.say(&said);
                continue;
            }
        };
        let Some(RunEvent { kind, .. }) = event else {
            return Ok(());
        };
        if let Some(said) = waiting.as_mut().and_then(|waiting| waiting.take(&kind)) {
            progress.say(&said);
        }
        match kind {
            RunEventKind::Expanded(_, tasks) => progress.planned(tasks as u64),
            RunEventKind::Settled(task, ..) => progress.ended(label(&task.path)),
            _ => {}
        }
    }
}

/// What there is to say of workers that are missing, once there is.
async fn said(waiting: &mut Option<Waiting>) -> String {
    match waiting {
        Some(waiting) => {
            waiting.silence().await;
            waiting.say()
        }
        None => std::future::pending().await,
    }
}

/// The error of a run, with its causes in one line.
fn explain(error: coditect_core::Error) -> anyhow::Error {
    match error.failure() {
        Some(failure) => anyhow::anyhow!("{failure}"),
        None => error.into(),
    }
}

/// What analyses have said so far.
async fn files(
    runtime: &Runtime,
    run: &RunHandle<AuditReport>,
    done: &RunReport,
) -> anyhow::Result<Vec<FileReport>> {
    let mut files = Vec::new();
    for (position, task) in (0..).zip(&done.tasks) {
        let is_file = label(&task.path).starts_with(FILE);
        if !is_file || task.state != TaskState::Succeeded {
            continue;
        }
        let id = coditect_core::TaskId::new(position);
        if let Some(output) = runtime.journal().output(run.id(), id).await? {
            files.push(serde_json::from_slice(&output)?);
        }
    }
    Ok(files)
}

/// The report about the files that had been analysed when the run was interrupted.
fn partial(files: Vec<FileReport>, cli: &Cli) -> AuditReport {
    let mut packages: BTreeMap<String, Vec<FileReport>> = BTreeMap::new();
    for file in files {
        let package = packages.entry(file.package.clone());
        package.or_default().push(file);
    }
    let mut report = AuditReport::new(cli.shown_path());
    for (package, files) in packages {
        report.add(summary::summarise(PackageTask { package, files }));
    }
    report.finish()
}

async fn statistics(
    runtime: &Runtime,
    run: &RunHandle<AuditReport>,
    done: &RunReport,
    cli: &Cli,
    cancelled: bool,
) -> anyhow::Result<RunStatistics> {
    let workers = match cli.bus() {
        Some(_) => WorkerFigures::of(&files(runtime, run, done).await?),
        None => Vec::new(),
    };
    let utilisation = if cli.bus().is_some() {
        // Here a task is under way from its publication on; the workers say how long they had it.
        WorkerFigures::utilisation(&workers, done.wall)
    } else {
        // More slots than there are tasks cannot be used by anybody.
        done.utilisation(cli.jobs()?.min(done.tasks.len()).max(1))
    };
    let succeeded = done.count(TaskState::Succeeded);
    let failed = done.count(TaskState::Failed);
    Ok(RunStatistics {
        tasks: done.tasks.len() as u64,
        succeeded: succeeded as u64,
        failed: failed as u64,
        not_done: (done.tasks.len() - succeeded - failed) as u64,
        autonomy: done.autonomy(),
        utilisation,
        wall_ms: millis(done.wall),
        max_concurrency: done.peak as u64,
        cancelled,
        workers,
    })
}

/// The tasks of the run as the picture shows them, and the aggregator behind them.
fn nodes(done: &RunReport) -> Vec<RunNode> {
    let mut nodes: Vec<RunNode> = done.tasks.iter().map(node).collect();
    let mut summaries = Vec::new();
    for (index, task) in done.tasks.iter().enumerate() {
        if nodes[index].kind != NodeKind::Summarise {
            continue;
        }
        summaries.push(index);
        for upstream in &task.upstream {
            nodes[upstream.index()].package = nodes[index].package.clone();
        }
    }
    nodes.push(RunNode {
        label: "report".to_owned(),
        kind: NodeKind::Report,
        state: nodes.first().map_or(NodeState::Skipped, |plan| plan.state),
        duration_us: 0,
        package: None,
        language: None,
        upstream: summaries,
    });
    nodes
}

fn node(task: &TaskReport) -> RunNode {
    let label = label(&task.path);
    let mut upstream: Vec<_> = task.upstream.iter().map(|id| id.index()).collect();
    // What waits for nothing in its plan waited for the plan.
    if upstream.is_empty() {
        upstream.extend(task.parent.map(|id| id.index()));
    }
    RunNode {
        label: label.trim_start_matches(FILE).to_owned(),
        kind: match &task.capability {
            capability if capability.starts_with("analyse-") => NodeKind::Analyse,
            capability if capability == "summarise" => NodeKind::Summarise,
            _ => NodeKind::Plan,
        },
        state: match task.state {
            TaskState::Succeeded => NodeState::Succeeded,
            TaskState::Failed => NodeState::Failed,
            TaskState::Skipped => NodeState::Skipped,
            _ => NodeState::Cancelled,
        },
        duration_us: u64::try_from(task.busy.as_micros()).unwrap_or(u64::MAX),
        package: label.strip_prefix(PACKAGE).map(str::to_owned),
        language: Language::ALL
            .into_iter()
            .find(|language| agents::analyse(*language).requirement() == task.capability),
        upstream,
    }
}

/// A task's path without the key of the task that planned it.
fn label(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
