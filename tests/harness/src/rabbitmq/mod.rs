//! RabbitMQ: a private server, or one that was given, and places on it for single tests.

mod server;
mod vhost;

use std::env;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::address::Address;
use crate::http::{Http, part};
use crate::random::Random;
use crate::{Error, ErrorKind};

use server::Server;
pub use vhost::Vhost;

/// Names a server to use instead of private ones.
const GIVEN: &str = "CODITECT_TEST_RABBITMQ";

/// Says where the management plugin of the given server listens.
const GIVEN_MANAGEMENT: &str = "CODITECT_TEST_RABBITMQ_MANAGEMENT";

/// A RabbitMQ server.
///
/// A private one ends when this is dropped or when the test process ends, however that comes about, and its data go with it.
#[derive(Debug)]
pub struct RabbitMq {
    address: Address,
    management: Http,
    /// `None`: the server was given.
    server: Option<Mutex<Server>>,
}

impl RabbitMq {
    /// Starts a private server, which takes ten to forty seconds, or connects to the given one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInstalled`] without the package `rabbitmq-server`; otherwise, with what the server printed, when it
    /// is not up within 120 seconds.
    pub async fn start() -> Result<Self, Error> {
        match env::var(GIVEN) {
            Ok(address) if !address.is_empty() => Self::given(&address).await,
            _ => Self::start_private(&[]).await,
        }
    }

    /// Starts a private server even if another one was started before, with further lines for its `rabbitmq.conf`
    /// (`consumer_timeout = 1000`). For tests that kill it, set alarms or need such settings.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); [`ErrorKind::GivenServer`] if a server was given.
    pub async fn private(settings: &[&str]) -> Result<Self, Error> {
        if env::var(GIVEN).is_ok_and(|address| !address.is_empty()) {
            return Err(Error::given_server(GIVEN, "a private server"));
        }
        Self::start_private(settings).await
    }

    /// The server that all tests of this process share, started by the first that asks. It ends with the process. Tests
    /// that kill it or raise alarms take a [`private`](Self::private) one.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and the same for all who ask.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Result<RabbitMq, Error>> = OnceCell::const_new();
        let shared = SHARED.get_or_init(Self::start).await;
        shared.as_ref().map_err(Clone::clone)
    }

    async fn start_private(settings: &[&str]) -> Result<Self, Error> {
        let server = Server::start(settings).await?;
        let address = Address {
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: server.port(),
        };
        let place = format!("127.0.0.1:{}", server.management_port());
        Ok(Self {
            management: management(&address, place),
            address,
            server: Some(Mutex::new(server)),
        })
    }

    async fn given(address: &str) -> Result<Self, Error> {
        let address = Address::parse(GIVEN, address)?;
        let place =
            env::var(GIVEN_MANAGEMENT).unwrap_or_else(|_| format!("{}:15672", address.host));
        let given = Self {
            management: management(&address, place),
            address,
            server: None,
        };
        given.management.send("GET", "/api/overview", None).await?;
        Ok(given)
    }

    /// Tells whether the server is ours to kill.
    pub fn is_private(&self) -> bool {
        self.server.is_some()
    }

    /// `host:port` of the server: what a [`Relay`](crate::Relay) is given as its target.
    pub fn place(&self) -> String {
        format!("{}:{}", self.address.host, self.address.port)
    }

    /// `host:port` of the server's management plugin.
    pub fn management_place(&self) -> &str {
        &self.management.place
    }

    /// The address of the server's default vhost, which all tests share: see [`vhost`](Self::vhost).
    pub fn url(&self) -> String {
        self.url_of(&self.place(), "/")
    }

    fn url_of(&self, place: &str, vhost: &str) -> String {
        let Address { user, password, .. } = &self.address;
        format!("amqp://{user}:{password}@{place}/{}", part(vhost))
    }

    /// Makes a fresh vhost, so that tests do not meet. Those on a given server stay until [`Vhost::delete`], and have
    /// names that begin with `coditect-test-`.
    pub async fn vhost(&self) -> Result<Vhost<'_>, Error> {
        let name = format!("coditect-test-{:016x}", Random::unforeseen().number());
        let path = format!("/api/vhosts/{name}");
        self.management.send("PUT", &path, Some(&json!({}))).await?;
        let path = format!("/api/permissions/{name}/{}", part(&self.address.user));
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        self.management.send("PUT", &path, Some(&all)).await?;
        Ok(Vhost::new(self, name))
    }

    /// Has the server write down which quorum queues it has. RabbitMQ 3.10 does that some time after a queue is declared,
    /// and a queue that it has not written down when it is killed comes back empty and answers nobody. A test that kills
    /// the server soon after declaring queues calls this in between.
    pub async fn settle(&self) -> Result<(), Error> {
        let synced = self.eval("[ok = dets:sync(T) || T <- dets:all()], ok.");
        synced.await.map(drop)
    }

    /// Kills the server with SIGKILL, and returns when it is dead. Its data stay for [`restart`](Self::restart), but see
    /// [`settle`](Self::settle).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::GivenServer`], as for all that only a private server can do.
    pub async fn kill(&self) -> Result<(), Error> {
        self.server("kill")?.lock().await.kill().await
    }

    /// Starts the server again on the same data and ports, and returns when it is up. One that runs is stopped in
    /// order first; after [`kill`](Self::kill) it is a recovery.
    pub async fn restart(&self) -> Result<(), Error> {
        let mut server = self.server("restart")?.lock().await;
        server.stop().await?;
        server.boot().await
    }

    /// Stops the server in order, and returns when it has ended. Its data stay for [`restart`](Self::restart).
    pub async fn stop(&self) -> Result<(), Error> {
        self.server("stop")?.lock().await.stop().await
    }

    /// Closes all connections of all clients, as an operator may do, and returns how many there were.
    pub async fn close_connections(&self) -> Result<u64, Error> {
        self.close_connections_where("true", "/api/connections")
            .await
    }

    /// Raises the memory alarm, or lowers it: publishers are blocked (`connection.blocked`) until then.
    pub async fn set_memory_alarm(&self, raised: bool) -> Result<(), Error> {
        let share = if raised { "0.0" } else { "0.4" };
        let expression = format!("vm_memory_monitor:set_vm_memory_high_watermark({share}).");
        self.eval(&expression).await.map(drop)
    }

    /// Evaluates an Erlang expression on the server, and returns what is printed of its value.
    pub async fn eval(&self, expression: &str) -> Result<String, Error> {
        self.ctl(&["eval", expression]).await
    }

    /// Runs `rabbitmqctl` on the server, and returns what it prints.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.server("rabbitmqctl")?
            .lock()
            .await
            .ctl(arguments)
            .await
    }

    /// Sends a request to the management API: `("GET", "/api/overview", None)`.
    pub async fn manage(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        self.management.send(method, path, body).await
    }

    /// Where a private server has its data and logs.
    pub async fn folder(&self) -> Result<PathBuf, Error> {
        let server = self.server("its folder")?.lock().await;
        Ok(Path::to_owned(server.folder()))
    }

    fn server(&self, what: &str) -> Result<&Mutex<Server>, Error> {
        let server = self.server.as_ref();
        server.ok_or_else(|| Error::given_server(GIVEN, what))
    }

    /// Closes connections that fulfil an Erlang expression over `C`, or, on a given server, those that a path of the
    /// management API lists. The latter hears of connections late, which is why it is not used for both.
    async fn close_connections_where(&self, condition: &str, path: &str) -> Result<u64, Error> {
        if self.is_private() {
            let expression = format!(
                "length([rabbit_networking:close_connection(C, \"closed by a test\") \
                 || C <- rabbit_networking:connections(), {condition}])."
            );
            let count = self.eval(&expression).await?;
            return count
                .trim()
                .parse()
                .map_err(|_| Error::failed(format!("closing connections: {count}")));
        }
        let listed = self.manage("GET", path, None).await?;
        let mut count = 0;
        for connection in listed.as_array().into_iter().flatten() {
            let name = connection["name"].as_str().unwrap_or_default();
            let path = format!("/api/connections/{}", part(name));
            match self.manage("DELETE", &path, None).await {
                Ok(_) => count += 1,
                Err(error) if error.kind() == ErrorKind::Failed => {} // gone meanwhile
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

fn management(address: &Address, place: String) -> Http {
    Http {
        place,
        user: address.user.clone(),
        password: address.password.clone(),
    }
}
