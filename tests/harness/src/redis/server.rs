//! The process and files of a private Redis server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Access;
use super::options::RedisOptions;
use crate::Error;
use crate::guard::{Guarded, Start};
use crate::port;

const PROGRAM: &str = "/usr/bin/redis-server";
const BOOT: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// How long `redis-cli` may take.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Server {
    /// Removed with its contents when this is dropped; before that it survives the process.
    folder: PathBuf,
    access: Access,
    cluster: bool,
    process: Option<Guarded>,
    /// Ends with us, and takes the folder along.
    _keeper: Guarded,
}

impl Server {
    /// Starts a server on a port that is free, and on another if somebody was quicker.
    pub(super) async fn start(options: &RedisOptions) -> Result<Self, Error> {
        if !Path::new(PROGRAM).exists() {
            return Err(Error::not_installed(PROGRAM, "redis-server"));
        }
        let mut tries = 0;
        loop {
            let mut server = Self::prepare(options)?;
            match server.boot().await {
                Err(error) if tries < 2 && error.to_string().contains("in use") => tries += 1,
                other => return other.map(|()| server),
            }
        }
    }

    fn prepare(options: &RedisOptions) -> Result<Self, Error> {
        // A cluster node has a second port for its neighbours.
        let [port, bus] = port::free()?;
        let folder = tempfile::Builder::new()
            .prefix("coditect-redis-")
            .tempdir()
            .map_err(Error::because("a temporary folder"))?;
        let lines = write_files(folder.path(), port, bus, options)
            .map_err(Error::because("the files of a server"))?;
        fs::write(folder.path().join("redis.conf"), lines)
            .map_err(Error::because("the settings of a server"))?;
        let keeper = Guarded::start(Start {
            program: "sleep",
            arguments: &["infinity".to_owned()],
            variables: &[],
            output: &folder.path().join("keeper"),
            folder: Some(folder.path()),
        })?;
        // From here on it is the guard that removes it.
        let folder = folder.keep();
        Ok(Self {
            access: access(&folder, port, options),
            cluster: options.cluster,
            folder,
            process: None,
            _keeper: keeper,
        })
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the process, and waits until it answers.
    pub(super) async fn boot(&mut self) -> Result<(), Error> {
        let output = self.folder.join("log");
        let mut arguments = vec![self.folder.join("redis.conf").display().to_string()];
        if self.folder.join("sentinel").exists() {
            arguments.push("--sentinel".to_owned());
        }
        let mut process = Guarded::start(Start {
            program: PROGRAM,
            arguments: &arguments,
            variables: &[],
            output: &output,
            folder: None,
        })?;
        let deadline = Instant::now() + BOOT;
        loop {
            let fault = match process.ended()? {
                Some(status) => format!("ended at its start ({status})"),
                None if Instant::now() > deadline => format!("is not up after {BOOT:?}"),
                None if self.answers().await => break,
                None => {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            let text = fs::read_to_string(&output).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            return Err(Error::failed(format!("redis-server {fault}\n{last}")));
        }
        self.process = Some(process);
        if self.cluster {
            self.take_slots(deadline).await?;
        }
        Ok(())
    }

    async fn answers(&self) -> bool {
        match self.access.cli(&["PING"]).await {
            Ok(answer) => answer == "PONG",
            // It is up, and keeps its user from saying so.
            Err(error) => error.to_string().contains("NOPERM"),
        }
    }

    async fn take_slots(&self, deadline: Instant) -> Result<(), Error> {
        let mut asked = false;
        loop {
            let info = self.access.cli(&["CLUSTER", "INFO"]).await?;
            if info.contains("cluster_state:ok") {
                return Ok(());
            }
            if !asked && info.contains("cluster_slots_assigned:0") {
                let all = ["CLUSTER", "ADDSLOTSRANGE", "0", "16383"];
                self.access.cli(&all).await?;
                asked = true;
            }
            if Instant::now() > deadline {
                return Err(Error::failed(format!("no cluster after {BOOT:?}: {info}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        self.end("KILL").await
    }

    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        // A process that stands still does not hear that it should end.
        self.resume()?;
        self.end("TERM").await
    }

    async fn end(&mut self, signal: &str) -> Result<(), Error> {
        match self.process.take() {
            Some(mut process) => process.end(signal, STOP).await,
            None => Ok(()),
        }
    }

    pub(super) async fn pause(&mut self) -> Result<(), Error> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        process.signal("STOP")?;
        let id = fs::read_to_string(self.folder.join("pid"));
        let id = id.map_err(Error::because("the process id of a server"))?;
        let stat = format!("/proc/{}/stat", id.trim());
        let deadline = Instant::now() + STOP;
        while !fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T ")) {
            if Instant::now() > deadline {
                return Err(Error::failed("redis-server does not stand still"));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    pub(super) fn resume(&mut self) -> Result<(), Error> {
        let process = self.process.as_mut();
        process.map_or(Ok(()), |process| process.signal("CONT"))
    }

    /// Removes the data of a server that does not run.
    pub(super) fn empty(&self) -> Result<(), Error> {
        let data = self.folder.join("data");
        for entry in ["appendonlydir", "dump.rdb"].map(|name| data.join(name)) {
            let removed = match entry.is_dir() {
                true => fs::remove_dir_all(&entry),
                false if entry.exists() => fs::remove_file(&entry),
                false => Ok(()),
            };
            removed.map_err(Error::because("the data of a server"))?;
        }
        Ok(())
    }
}

/// Writes the files that `redis.conf` names, and returns what is to stand in it.
fn write_files(
    folder: &Path,
    port: u16,
    bus: u16,
    options: &RedisOptions,
) -> std::io::Result<String> {
    let data = folder.join("data");
    fs::create_dir(&data)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let mut lines = vec![
        "bind 127.0.0.1".to_owned(),
        format!("dir {}", data.display()),
        format!("pidfile {}", path("pid")),
    ];
    match &options.tls {
        Some(tls) => {
            lines.extend(["port 0".to_owned(), format!("tls-port {port}")]);
            for (key, name, text) in [
                ("tls-ca-cert-file", "ca.pem", &tls.ca),
                ("tls-cert-file", "cert.pem", &tls.certificate),
                ("tls-key-file", "key.pem", &tls.key),
            ] {
                fs::write(folder.join(name), text)?;
                lines.push(format!("{key} {}", path(name)));
            }
            lines.push("tls-auth-clients no".to_owned());
        }
        None => lines.push(format!("port {port}")),
    }
    if let Some(monitored) = &options.monitors {
        fs::write(folder.join("sentinel"), "")?;
        let place = monitored.place.replace(':', " ");
        lines.push(format!("sentinel monitor {} {place} 1", monitored.name));
    } else {
        let append = if options.in_memory { "no" } else { "yes" };
        lines.extend(["save \"\"".to_owned(), format!("appendonly {append}")]);
    }
    if let Some(password) = &options.password {
        lines.push(format!("requirepass {password}"));
    }
    for user in &options.users {
        let (name, password, rules) = (&user.name, &user.password, &user.rules);
        lines.push(format!("user {name} on >{password} {rules}"));
    }
    if options.cluster {
        lines.push("cluster-enabled yes".to_owned());
        lines.push(format!("cluster-port {bus}"));
        lines.push(format!("cluster-config-file {}", path("nodes.conf")));
    }
    lines.extend(options.settings.iter().cloned());
    Ok(lines.join("\n") + "\n")
}

fn access(folder: &Path, port: u16, options: &RedisOptions) -> Access {
    let access = Access {
        scheme: if options.tls.is_some() {
            "rediss"
        } else {
            "redis"
        },
        login: None,
        place: format!("127.0.0.1:{port}"),
        rest: String::new(),
        ca: options.tls.as_ref().map(|_| folder.join("ca.pem")),
    };
    match (options.users.first(), &options.password) {
        (Some(user), _) => access.with_login(&user.name, &user.password),
        (None, Some(password)) => access.with_login("default", password),
        (None, None) => access,
    }
}
