//! The command line.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::bus::{BusArgs, BusUrl};
use crate::code_audit::finding::Severity;
use crate::code_audit::state::StateFile;
use crate::registry::RegistryArgs;

/// Audits a source tree with agents: every file, every package, one report.
///
/// Everything is done in this process, unless `--bus` names a broker. Then the files travel over it to processes
/// that run `code_audit_worker`, on this or other machines, and this one analyses nothing itself.
///
/// Exits with 0, with 1 if there is a finding of `--fail-on` or above, with 2 if the audit could not be
/// done, with 130 after Ctrl-C.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "code_audit")]
pub(crate) struct Cli {
    /// The directory to audit, or one file
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Print the report as JSON to standard output, without bar and table
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with 1 if there is a finding of this severity or above
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<Severity>,
    /// How many files this process analyses at once; 0 leaves all to workers
    /// [default: 128, and 0 with --bus]
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<usize>,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    /// A file in which the audit is kept: where its process dies, the same command goes on with it
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Where the report goes: a directory, or a prefix to which `.md` and `.html` are added
    /// [default: `code-audit`, and nowhere with --json]
    #[arg(long, value_name = "DIR|PREFIX")]
    pub(crate) out: Option<PathBuf>,
}

impl Cli {
    /// The broker that workers are reached by, if there is one.
    pub(crate) fn bus(&self) -> Option<&BusUrl> {
        self.bus.broker()
    }

    /// The file in which the audit is kept, if there is one.
    pub(crate) fn state(&self) -> Option<StateFile<'_>> {
        self.state.as_deref().map(StateFile::new)
    }

    /// How many files this process analyses at once.
    ///
    /// # Errors
    ///
    /// If nobody would analyse any.
    pub(crate) fn jobs(&self) -> anyhow::Result<usize> {
        match (self.jobs, self.bus()) {
            (Some(0), None) => {
                anyhow::bail!("--jobs 0 leaves all files to workers, and needs --bus to reach them")
            }
            (Some(jobs), _) => Ok(jobs),
            (None, None) => Ok(128),
            (None, Some(_)) => Ok(0),
        }
    }

    /// The path as reports show it: as it was given, unless that is no name (`.`, `..`).
    pub(crate) fn shown_path(&self) -> String {
        let named = match self.path.file_name() {
            Some(_) => None,
            None => self.path.canonicalize().ok(),
        };
        named.as_ref().unwrap_or(&self.path).display().to_string()
    }

    /// Where the Markdown and the HTML report go, if they are wanted.
    pub(crate) fn report_paths(&self) -> Option<(PathBuf, PathBuf)> {
        let out = match &self.out {
            Some(out) => out.as_path(),
            None if self.json => return None,
            None => Path::new("code-audit"),
        };
        let is_directory = out.is_dir() || out.as_os_str().to_string_lossy().ends_with(['/', '\\']);
        let prefix = if is_directory {
            out.join("code-audit")
        } else {
            out.to_path_buf()
        };
        let with = |extension: &str| {
            let mut path = prefix.clone().into_os_string();
            path.push(extension);
            PathBuf::from(path)
        };
        Some((with(".md"), with(".html")))
    }
}

pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 0..=10_000) => Ok(jobs),
        _ => Err("must be a number from 0 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["code_audit"], arguments].concat())
    }

    #[test]
    fn arguments_are_read() {
        let cli = parse(&["src", "--json", "--fail-on", "high", "--jobs", "8"]).unwrap();
        assert_eq!(cli.path, Path::new("src"));
        assert_eq!(
            (cli.json, cli.fail_on, cli.jobs().unwrap()),
            (true, Some(Severity::High), 8)
        );
        assert_eq!(cli.report_paths(), None);
    }

    #[test]
    fn a_bus_leaves_the_files_to_workers_unless_told_otherwise() {
        let jobs = |arguments: &[&str]| parse(arguments).unwrap().jobs().ok();
        assert_eq!(jobs(&["x"]), Some(128));
        assert_eq!(jobs(&["x", "--bus", "amqp://host"]), Some(0));
        assert_eq!(jobs(&["x", "--bus", "amqp://host", "--jobs", "4"]), Some(4));
        assert_eq!(jobs(&["x", "--jobs", "0"]), None);
    }

    #[test]
    fn a_path_without_a_name_is_shown_with_one() {
        assert_eq!(parse(&["src/x"]).unwrap().shown_path(), "src/x");
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(
            parse(&["."]).unwrap().shown_path(),
            here.display().to_string()
        );
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        let message = |arguments: &[&str]| parse(arguments).unwrap_err().to_string();
        assert!(message(&[]).contains("<PATH>"));
        assert!(message(&["x", "--fail-on", "bad"]).contains("critical"));
        for jobs in ["-1", "many", "10001"] {
            assert!(parse(&["x", &format!("--jobs={jobs}")]).is_err(), "{jobs}");
        }
    }

    #[test]
    fn the_report_goes_to_a_directory_or_a_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let paths = |out: &str| parse(&["x", "--out", out]).unwrap().report_paths().unwrap();
        let inside = paths(dir.path().to_str().unwrap());
        assert_eq!(inside.1, dir.path().join("code-audit.html"));
        assert_eq!(paths("a/v1.2").0, Path::new("a/v1.2.md"));
        assert_eq!(paths("new/").0, Path::new("new/code-audit.md"));
        let default = parse(&["x"]).unwrap().report_paths().unwrap();
        assert_eq!(default.0, Path::new("code-audit.md"));
    }
}
