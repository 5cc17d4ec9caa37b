//! Redis: a private server, or one that was given.

mod options;
mod server;

use std::env;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

use crate::Error;
use crate::http::part;
use crate::random::Random;

pub use options::RedisOptions;
use server::{ANSWER, Server};

/// Names a server to use instead of private ones.
const GIVEN: &str = "CODITECT_TEST_REDIS";

/// A Redis server.
///
/// A private one ends when this is dropped or when the test process ends, however that comes about, and its data go with
/// it. It starts in about a tenth of a second, so a test that does anything to the server takes one of its own.
#[derive(Debug)]
pub struct Redis {
    access: Access,
    /// `None`: the server was given.
    server: Option<Mutex<Server>>,
}

/// How clients get in.
#[derive(Debug, Clone)]
struct Access {
    scheme: &'static str,
    /// `user:password`, percent-encoded, or what is left of it.
    login: Option<String>,
    /// `host:port`.
    place: String,
    /// What comes after the place, such as `/3`.
    rest: String,
    /// The certificate that `redis-cli` trusts.
    ca: Option<PathBuf>,
}

impl Redis {
    /// Starts a private server, or connects to the given one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInstalled`](crate::ErrorKind::NotInstalled) without the package `redis-server`; otherwise, with what
    /// the server printed, when it is not up within 30 seconds.
    pub async fn start() -> Result<Self, Error> {
        match env::var(GIVEN) {
            Ok(url) if !url.is_empty() => Self::given(&url).await,
            _ => Self::start_private(&RedisOptions::default()).await,
        }
    }

    /// Starts a private server with further lines for its `redis.conf` (`maxmemory-policy allkeys-lru`). For tests that
    /// kill or pause it, or need such settings. With a password, TLS, a cluster or a sentinel: [`options`](Self::options).
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); [`ErrorKind::GivenServer`](crate::ErrorKind::GivenServer) if a server was given.
    pub async fn private(settings: &[&str]) -> Result<Self, Error> {
        let options = RedisOptions::default();
        let options = settings
            .iter()
            .fold(options, |o, line| o.with_setting(*line));
        options.start().await
    }

    /// Begins to describe a private server.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// The server that all tests of this process share, started by the first that asks. It ends with the process. Each
    /// test keeps to a [`namespace`](Self::namespace) of its own.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and the same for all who ask.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Result<Redis, Error>> = OnceCell::const_new();
        let shared = SHARED.get_or_init(Self::start).await;
        shared.as_ref().map_err(Clone::clone)
    }

    async fn start_private(options: &RedisOptions) -> Result<Self, Error> {
        let server = Server::start(options).await?;
        Ok(Self {
            access: server.access().clone(),
            server: Some(Mutex::new(server)),
        })
    }

    async fn given(url: &str) -> Result<Self, Error> {
        let given = Self {
            access: Access::parse(url)?,
            server: None,
        };
        given.cli(&["PING"]).await?;
        Ok(given)
    }

    /// Tells whether the server is ours to kill.
    pub fn is_private(&self) -> bool {
        self.server.is_some()
    }

    /// `host:port` of the server: what a [`Relay`](crate::Relay) is given as its target.
    pub fn place(&self) -> &str {
        &self.access.place
    }

    /// Its address, with the login if it has one: `redis://user:password@host:port`.
    pub fn url(&self) -> String {
        self.url_through(self.place())
    }

    /// Its address by way of another place: that of a [`Relay`](crate::Relay).
    pub fn url_through(&self, place: impl std::fmt::Display) -> String {
        let Access { scheme, rest, .. } = &self.access;
        match &self.access.login {
            Some(login) => format!("{scheme}://{login}@{place}{rest}"),
            None => format!("{scheme}://{place}{rest}"),
        }
    }

    /// A name that nobody else uses, for a test's own keys on a shared server.
    pub fn namespace() -> String {
        format!("test-{:012x}", Random::unforeseen().number() >> 16)
    }

    /// Runs a command by `redis-cli`, and returns what it prints without the last line break.
    ///
    /// # Errors
    ///
    /// Also if the server answers with an error, or not within 10 seconds.
    pub async fn cli(&self, arguments: &[&str]) -> Result<String, Error> {
        self.access.cli(arguments).await
    }

    /// Kills the server with SIGKILL, and returns when it is dead. Its data stay for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::GivenServer`](crate::ErrorKind::GivenServer), as for all that only a private server can do.
    pub async fn kill(&self) -> Result<(), Error> {
        self.server("kill")?.lock().await.kill().await
    }

    /// Stops the server in order, and returns when it has ended. Its data stay for [`restart`](Self::restart).
    pub async fn stop(&self) -> Result<(), Error> {
        self.server("stop")?.lock().await.stop().await
    }

    /// Starts the server again on the same data and port, and returns when it is up. One that runs is stopped in order
    /// first.
    pub async fn restart(&self) -> Result<(), Error> {
        let mut server = self.server("restart")?.lock().await;
        server.stop().await?;
        server.boot().await
    }

    /// Kills the server if it runs, and starts it again on the same port with nothing in it.
    pub async fn restart_empty(&self) -> Result<(), Error> {
        let mut server = self.server("an empty restart")?.lock().await;
        server.kill().await?;
        server.empty()?;
        server.boot().await
    }

    /// Freezes the server with SIGSTOP: connections stay open and nobody answers. Returns when it stands still.
    pub async fn pause(&self) -> Result<(), Error> {
        self.server("pause")?.lock().await.pause().await
    }

    /// Lets a [paused](Self::pause) server go on.
    pub async fn resume(&self) -> Result<(), Error> {
        self.server("resume")?.lock().await.resume()
    }

    /// Where a private server has its data and log.
    pub async fn folder(&self) -> Result<PathBuf, Error> {
        let server = self.server("its folder")?.lock().await;
        Ok(Path::to_owned(server.folder()))
    }

    fn server(&self, what: &str) -> Result<&Mutex<Server>, Error> {
        let server = self.server.as_ref();
        server.ok_or_else(|| Error::given_server(GIVEN, what))
    }
}

impl Access {
    fn parse(url: &str) -> Result<Self, Error> {
        let fault = || Error::failed(format!("{GIVEN} is no redis://[user:password@]host[:port]"));
        let (scheme, rest) = match url.split_once("://").ok_or_else(fault)? {
            ("redis", rest) => ("redis", rest),
            ("rediss", rest) => ("rediss", rest),
            _ => return Err(fault()),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login.to_owned()), place),
            None => (None, authority),
        };
        if place.is_empty() {
            return Err(fault());
        }
        let place = match place.rsplit_once(':') {
            Some(_) => place.to_owned(),
            None => format!("{place}:6379"),
        };
        Ok(Self {
            scheme,
            login,
            place,
            rest: rest.to_owned(),
            ca: None,
        })
    }

    fn with_login(mut self, user: &str, password: &str) -> Self {
        self.login = Some(format!("{}:{}", part(user), part(password)));
        self
    }

    async fn cli(&self, arguments: &[&str]) -> Result<String, Error> {
        let what = format!("redis-cli {}", arguments.join(" "));
        let url = match &self.login {
            Some(login) => format!("{}://{login}@{}{}", self.scheme, self.place, self.rest),
            None => format!("{}://{}{}", self.scheme, self.place, self.rest),
        };
        let mut command = Command::new("redis-cli");
        command.args(["-e", "--no-auth-warning", "-u", &url]);
        if let Some(ca) = &self.ca {
            command.arg("--cacert").arg(ca);
        }
        let running = command.args(arguments).kill_on_drop(true).output();
        let output = timeout(ANSWER, running)
            .await
            .map_err(Error::because(&what))?
            .map_err(Error::because(&what))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Error::failed(format!("{what}: {printed}{errors}")));
        }
        Ok(printed.trim_end_matches('\n').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_address_is_read_with_its_defaults() {
        let access = Access::parse("rediss://me:a%40b@cache/3").unwrap();
        assert_eq!(access.place, "cache:6379");
        assert_eq!(access.login.as_deref(), Some("me:a%40b"));
        let given = Redis {
            access,
            server: None,
        };
        assert_eq!(given.url_through("there:1"), "rediss://me:a%40b@there:1/3");
        assert_eq!(Access::parse("redis://[::1]:7").unwrap().place, "[::1]:7");
    }

    #[test]
    fn what_is_no_address_is_refused_without_printing_it() {
        for wrong in ["", "amqp://x", "redis://", "redis://a:secret@/0"] {
            let error = Access::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with(GIVEN), "{wrong}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
