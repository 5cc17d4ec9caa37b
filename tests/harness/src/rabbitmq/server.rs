//! The processes and files of a private RabbitMQ server.
//!
//! Debian's `/usr/sbin/rabbitmq-server` and `rabbitmqctl` change the user and fix the folders; what they wrap takes both
//! from the environment. Erlang's port mapper `epmd` is started by us too, because the one that Erlang would start
//! outlives it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::Error;
use crate::guard::{Guarded, Start};
use crate::port;
use crate::random::Random;

const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const BOOT: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Server {
    folder: PathBuf,
    ports: Ports,
    variables: Vec<(&'static str, String)>,
    /// The server itself; `None` while it is stopped. Ends before `epmd`, which takes the folder along.
    process: Option<Guarded>,
    epmd: Guarded,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    epmd: u16,
}

impl Server {
    /// Starts a server on ports that are free, and on others if somebody was quicker.
    pub(super) async fn start(settings: &[&str]) -> Result<Self, Error> {
        let program = format!("{PROGRAMS}/rabbitmq-server");
        if !Path::new(&program).exists() {
            return Err(Error::not_installed(&program, "rabbitmq-server"));
        }
        let mut tries = 0;
        loop {
            let mut server = Self::prepare(settings)?;
            match server.boot().await {
                Err(error) if tries < 2 && is_port_taken(&error.to_string()) => tries += 1,
                other => return other.map(|()| server),
            }
        }
    }

    fn prepare(settings: &[&str]) -> Result<Self, Error> {
        let [amqp, management, distribution, epmd] = port::free()?;
        let ports = Ports {
            amqp,
            management,
            distribution,
            epmd,
        };
        let folder = tempfile::Builder::new()
            .prefix("coditect-rabbitmq-")
            .tempdir()
            .map_err(Error::because("a temporary folder"))?;
        write_files(folder.path(), ports, settings)
            .map_err(Error::because("the files of a server"))?;
        let variables = variables(folder.path(), ports);
        let epmd = Guarded::start(Start {
            program: "epmd",
            arguments: &["-port", &ports.epmd.to_string(), "-address", "127.0.0.1"]
                .map(str::to_owned),
            variables: &variables,
            output: &folder.path().join("log/epmd"),
            folder: Some(folder.path()),
        })?;
        Ok(Self {
            // From here on it is the guard that removes it.
            folder: folder.keep(),
            ports,
            variables,
            process: None,
            epmd,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.ports.amqp
    }

    pub(super) fn management_port(&self) -> u16 {
        self.ports.management
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the process, and waits until it is up.
    pub(super) async fn boot(&mut self) -> Result<(), Error> {
        let log = self.folder.join("log/rabbit.log");
        let output = self.folder.join("log/out");
        let _ = fs::remove_file(&log);
        let mut process = Guarded::start(Start {
            program: &format!("{PROGRAMS}/rabbitmq-server"),
            arguments: &["-noinput".to_owned()],
            variables: &self.variables,
            output: &output,
            folder: None,
        })?;
        let deadline = Instant::now() + BOOT;
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.contains("Server startup complete") {
                self.process = Some(process);
                return Ok(());
            }
            if self.epmd.ended()?.is_some() {
                let fault = "epmd has ended; its port may be in use by another process";
                return Err(Error::failed(fault));
            }
            let fault = match process.ended()? {
                Some(status) => format!("ended at its start ({status})"),
                None if Instant::now() > deadline => format!("is not up after {BOOT:?}"),
                None => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let output = fs::read_to_string(&output).unwrap_or_default();
            return Err(Error::failed(format!(
                "rabbitmq-server {fault}\n{}\n{}",
                first_errors(&(text + &output)),
                last_lines(&output),
            )));
        }
    }

    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        self.end("KILL").await
    }

    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        self.end("TERM").await
    }

    async fn end(&mut self, signal: &str) -> Result<(), Error> {
        match self.process.take() {
            Some(mut process) => process.end(signal, STOP).await,
            None => Ok(()),
        }
    }

    pub(super) async fn ctl(&self, arguments: &[&str]) -> Result<String, Error> {
        let what = format!("rabbitmqctl {}", arguments.join(" "));
        let running = Command::new(format!("{PROGRAMS}/rabbitmqctl"))
            .arg("--quiet")
            .args(arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true)
            .output();
        let output = timeout(STOP, running)
            .await
            .map_err(Error::because(&what))?
            .map_err(Error::because(&what))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Error::failed(format!("{what}: {printed}{errors}")));
        }
        Ok(printed)
    }
}

fn write_files(folder: &Path, ports: Ports, settings: &[&str]) -> std::io::Result<()> {
    for name in ["mnesia", "log", "home"] {
        fs::create_dir(folder.join(name))?;
    }
    let mut lines = vec![
        format!("listeners.tcp.1 = 127.0.0.1:{}", ports.amqp),
        "management.tcp.ip = 127.0.0.1".to_owned(),
        format!("management.tcp.port = {}", ports.management),
        "disk_free_limit.absolute = 50MB".to_owned(),
    ];
    lines.extend(settings.iter().map(|line| (*line).to_owned()));
    fs::write(folder.join("rabbitmq.conf"), lines.join("\n") + "\n")?;
    fs::write(folder.join("enabled_plugins"), "[rabbitmq_management].\n")?;
    // Erlang refuses a cookie that others can read.
    let mut cookie = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(folder.join("home/.erlang.cookie"))?;
    write!(cookie, "{:016X}", Random::unforeseen().number())
}

/// The environment of the server, of `epmd` and of `rabbitmqctl`.
fn variables(folder: &Path, ports: Ports) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    vec![
        ("HOME", path("home")),
        ("ERL_EPMD_PORT", ports.epmd.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_NODENAME", format!("t{}@localhost", ports.amqp)),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("RABBITMQ_MNESIA_BASE", path("mnesia")),
        ("RABBITMQ_LOG_BASE", path("log")),
        ("RABBITMQ_LOGS", path("log/rabbit.log")),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
        ("RABBITMQ_PID_FILE", path("rabbit.pid")),
        // The start script then becomes the server instead of waiting for it, so that our signals reach it.
        ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none \
             -kernel inet_dist_use_interface {127,0,0,1}"
                .to_owned(),
        ),
    ]
}

/// Tells whether somebody else took a port between our choice of it and the server's start.
fn is_port_taken(fault: &str) -> bool {
    ["eaddrinuse", "port_already_used", "in use by another"]
        .iter()
        .any(|sign| fault.contains(sign))
}

/// The beginning of the trouble; what follows in a log is how Erlang goes down.
fn first_errors(log: &str) -> String {
    let errors = log.lines().filter(|line| line.contains("[error]"));
    errors.take(10).collect::<Vec<_>>().join("\n")
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
