//! The connection to Redis: made when needed, made again when lost.

use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, Value,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::Fault;
use super::script::{FORMAT, Script};

#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

/// Calls the script, over one connection that all callers share.
pub(super) struct Link {
    client: Client,
    /// `host:port`.
    at: String,
    pub(super) script: Script,
    timeouts: Timeouts,
    state: Mutex<State>,
    /// One connects, the others wait for it.
    connecting: Semaphore,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Grows with each connection. What was read over one is not judged over another: it may lead to another server.
    generation: u64,
    /// How often connecting has failed, and why it did last.
    failures: u64,
    failed: Option<Fault>,
}

impl Link {
    pub(super) fn new(url: &str, namespace: &str, timeouts: Timeouts) -> Result<Self, Fault> {
        // The parser's own words may repeat the URL, and with it the password.
        let info = url.into_connection_info().map_err(|_| Fault::Url)?;
        let settings = info.redis_settings().clone();
        // Answers have another form in each version of the protocol.
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP2));
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            // An application may have chosen another one for the whole process; that one serves as well.
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        }
        Ok(Self {
            at: info.addr().to_string(),
            client: Client::open(info).map_err(|_| Fault::Url)?,
            script: Script::new(namespace),
            timeouts,
            state: Mutex::default(),
            connecting: Semaphore::new(1),
        })
    }

    /// Sends a command once, and returns which connection answered. Only where the server has forgotten the script, and so
    /// has done nothing, it is sent again.
    pub(super) async fn call(&self, command: &Cmd) -> Result<(u64, Value), Fault> {
        let (generation, mut connection) = self.connection().await?;
        let mut answer = self.send(&mut connection, command).await;
        if answer.as_ref().is_err_and(Fault::is_script_missing) {
            self.attach(&mut connection).await?;
            answer = self.send(&mut connection, command).await;
        }
        if answer.as_ref().is_err_and(Fault::ends_connection) {
            let mut state = self.state.lock();
            if state.generation == generation {
                state.connection = None;
            }
        }
        answer.map(|answer| (generation, answer))
    }

    /// Returns the number of the connection that the next call goes over, if there is one.
    pub(super) fn generation(&self) -> Option<u64> {
        let state = self.state.lock();
        state.connection.is_some().then_some(state.generation)
    }

    /// Has the server know the script, and returns the version of the latest commit.
    pub(super) async fn attach(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<u64, Fault> {
        let answer = self.send(connection, &self.script.attach()).await?;
        let (found, latest): (u32, u64) =
            redis::from_redis_value(answer).map_err(|_| Fault::Strange("of attach"))?;
        if found > FORMAT {
            let known = FORMAT;
            return Err(Fault::Newer { found, known });
        }
        Ok(latest)
    }

    /// Opens a connection apart from the shared one, for reads that block for up to `block`.
    pub(super) async fn open(&self, block: Duration) -> Result<MultiplexedConnection, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.timeouts.response + block))
            .set_connection_timeout(None);
        let opened = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let opened = timeout(self.timeouts.connect, opened).await;
        opened
            .map_err(|_| Fault::ConnectTimeout {
                at: self.at.clone(),
            })?
            .map_err(|error| Fault::connect(&self.at, error))
    }

    /// Sends a command once, over this connection.
    pub(super) async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        command: &Cmd,
    ) -> Result<Value, Fault> {
        send(&self.at, connection, command).await
    }

    /// Where the server is.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Fault> {
        if let Some(connected) = self.connected() {
            return Ok(connected);
        }
        let failures = self.state.lock().failures;
        // Never closed, so there always comes a turn.
        let _turn = self.connecting.acquire().await;
        if let Some(connected) = self.connected() {
            return Ok(connected);
        }
        // What failed while this one waited has failed for it too: in a row, each would wait for all before it.
        let failed = {
            let state = self.state.lock();
            state.failed.clone().filter(|_| state.failures > failures)
        };
        if let Some(fault) = failed {
            return Err(fault);
        }
        let opened = self.open_attached().await;
        let mut state = self.state.lock();
        match opened {
            Ok(connection) => {
                state.generation += 1;
                state.failed = None;
                state.connection = Some(connection.clone());
                Ok((state.generation, connection))
            }
            Err(fault) => {
                state.failures += 1;
                state.failed = Some(fault.clone());
                Err(fault)
            }
        }
    }

    async fn open_attached(&self) -> Result<MultiplexedConnection, Fault> {
        let mut connection = self.open(Duration::ZERO).await?;
        self.attach(&mut connection).await?;
        Ok(connection)
    }

    fn connected(&self) -> Option<(u64, MultiplexedConnection)> {
        let state = self.state.lock();
        let connection = state.connection.clone()?;
        Some((state.generation, connection))
    }
}

/// Sends a command once, over a connection to the server that is there.
pub(super) async fn send(
    at: &str,
    connection: &mut MultiplexedConnection,
    command: &Cmd,
) -> Result<Value, Fault> {
    let answer = command.query_async(connection).await;
    answer.map_err(|error| Fault::of_answer(at, error))
}
