//! A process that analyses for audits of other processes: what the example `code_audit_worker` runs.

use std::process::ExitCode;
use std::thread;

use clap::{Parser, ValueEnum};
use coditect_core::prelude::*;
use coditect_core::shutdown_signal;
use coditect_core::telemetry::Telemetry;
use tokio::time::Instant;

use crate::bus::{self, BusUrl, LOG};
use crate::code_audit::agents::{self, Analyst, analyse};
use crate::code_audit::cli;
use crate::code_audit::language::Language;
use crate::code_audit::{FAILED, INTERRUPTED};
use crate::registry::RegistryArgs;

/// How many files are analysed at once for each core: the bus needs some time to bring the next one.
const JOBS_PER_CORE: usize = 4;

/// Analyses files for `code_audit --bus`, which sends them; the tree need not be on this machine.
///
/// Any number may run, on any machines, and come and go while audits run. Ctrl-C ends one when what it works
/// on is done; one that is killed costs nothing but the time, as others do its work again.
///
/// Exits with 0, or with 2 if it could not work.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "code_audit_worker")]
struct Cli {
    /// The RabbitMQ broker that audits use: amqp[s]://user:password@host:port/vhost
    #[arg(long, value_name = "URL", env = "CODITECT_BUS", hide_env_values = true)]
    bus: BusUrl,
    #[command(flatten)]
    registry: RegistryArgs,
    /// What to analyse, separated by commas; all if it is left out
    #[arg(long, value_name = "AGENTS", value_delimiter = ',')]
    agents: Vec<Language>,
    /// How many files are analysed at once [default: four for each core]
    #[arg(long, value_name = "N", value_parser = some_jobs)]
    jobs: Option<usize>,
}

impl Cli {
    fn languages(&self) -> Vec<Language> {
        let mut languages = self.agents.clone();
        languages.sort_unstable();
        languages.dedup();
        match languages.is_empty() {
            true => Language::ALL.to_vec(),
            false => languages,
        }
    }

    fn jobs(&self) -> usize {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or(JOBS_PER_CORE * cores)
    }
}

/// As in an audit, but for none: a worker that analyses nothing is of no use.
fn some_jobs(text: &str) -> Result<usize, String> {
    match cli::jobs(text) {
        Ok(jobs) if jobs > 0 => Ok(jobs),
        _ => Err("must be a number from 1 to 10000".to_owned()),
    }
}

/// Reads the command line and works until it is told to end; gives the code to exit with.
pub async fn main() -> ExitCode {
    match work(&Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

async fn work(cli: &Cli) -> anyhow::Result<()> {
    let end = shutdown_signal();
    let _telemetry = Telemetry::builder()
        .with_service("code_audit_worker")
        .with_default_filter(LOG)
        .install()?;
    anyhow::ensure!(
        !cli.bus.is_memory(),
        "a bus in the memory of this process brings no work from others: --bus must name a broker"
    );
    let analyst = Analyst::new(cli.languages(), cli.jobs());
    let done = analyst.done();
    let mut runtime = agents::analysing(Runtime::builder(), analyst)
        .worker_only()
        .bus(cli.bus.as_str());
    if let Some(registry) = cli.registry.shared() {
        runtime = runtime.registry(registry.as_str());
    }
    let runtime = tokio::select! {
        started = runtime.start() => started.map_err(|error| cli.registry.explain(&cli.bus, error))?,
        () = end => return Ok(()),
    };
    let (began, end) = (Instant::now(), shutdown_signal());
    let agents: Vec<_> = cli.languages().into_iter().map(analyse).collect();
    let agents: Vec<_> = agents.iter().map(Call::requirement).collect();
    eprintln!(
        "ready: {} takes {} at {}, {} at once; Ctrl-C ends it",
        done.lock().worker,
        agents.join(", "),
        cli.bus,
        cli.jobs()
    );
    end.await;
    eprintln!(
        "draining: what has begun is done, the rest is left to others; Ctrl-C again ends it at once"
    );
    let again = shutdown_signal();
    tokio::select! {
        ended = bus::leave(&runtime) => ended?,
        () = again => std::process::exit(INTERRUPTED.into()),
    }
    eprintln!("ended: {}", done.lock().line(began.elapsed()));
    Ok(())
}

impl ValueEnum for Language {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let name = match self {
            Self::Rust => "rust",
            Self::Markdown => "markdown",
            Self::Toml => "toml",
            Self::Text => "text",
            Self::Opaque => "other",
        };
        Some(clap::builder::PossibleValue::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["code_audit_worker", "--bus", "amqp://host"], arguments].concat())
    }

    #[test]
    fn agents_are_chosen_by_name() {
        assert_eq!(parse(&[]).unwrap().languages(), Language::ALL);
        let chosen = parse(&["--agents", "toml,rust", "--jobs", "3"]).unwrap();
        assert_eq!(chosen.languages(), [Language::Rust, Language::Toml]);
        assert_eq!(chosen.jobs(), 3);
        let refused = parse(&["--agents", "cobol"]).unwrap_err().to_string();
        assert!(refused.contains("markdown"), "{refused}");
    }

    #[test]
    fn a_worker_that_would_do_nothing_is_refused() {
        for jobs in ["0", "-1", "many", "10001"] {
            let refused = parse(&[&format!("--jobs={jobs}")]).unwrap_err().to_string();
            assert!(refused.contains("from 1 to 10000"), "{refused}");
        }
    }

    #[test]
    fn a_worker_needs_a_bus() {
        let refused = Cli::try_parse_from(["code_audit_worker"]);
        if std::env::var_os("CODITECT_BUS").is_none() {
            assert!(refused.unwrap_err().to_string().contains("--bus <URL>"));
        }
    }
}
