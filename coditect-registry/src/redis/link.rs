//! The connection to Redis: made when needed, made again when lost, and never the caller's concern.

use std::time::Duration;

use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::address::{Address, Connection};
use super::error::{Failure, ends_connection, is_script_missing};
use super::script::Script;
use super::wire::{next_text, words};

const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Calls the script, over one connection that all callers share.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    namespace: String,
    pub(super) script: Script,
    pub(super) limits: Limits,
    state: Mutex<State>,
    /// One connects, the others wait for it.
    connecting: Semaphore,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long making a connection may take.
    pub(super) connect: Duration,
    /// How long one answer may take.
    pub(super) response: Duration,
    /// How long a call may take with all its repetitions.
    pub(super) patience: Duration,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Grows with each connection, so that none is thrown away for the fault of its predecessor.
    generation: u64,
    /// When the next attempt to connect may begin, and how long the wait after it is.
    not_before: Option<Instant>,
    wait: Duration,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("connected", &self.connection.is_some())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// What the server says of itself when it is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) eviction: String,
    pub(super) appends: bool,
}

impl Link {
    pub(super) fn new(address: Address, namespace: String, limits: Limits) -> Self {
        Self {
            script: Script::new(&namespace),
            address,
            namespace,
            limits,
            state: Mutex::default(),
            connecting: Semaphore::new(1),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a command that may be repeated, until it is answered or the patience is over.
    ///
    /// A permanent refusal is returned at once. If any of its attempts may have happened, the failure says so.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        let deadline = Instant::now() + self.limits.patience;
        let (mut wait, mut unanswered) = (SHORTEST_WAIT, None);
        loop {
            let failure = match self.once(command).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !failure.is_transient() {
                return Err(failure);
            }
            let pause = jittered(wait);
            if Instant::now() + pause >= deadline {
                return Err(unanswered.unwrap_or(failure));
            }
            tracing::debug!(error = %failure, "a call to redis is repeated");
            if failure.is_unknown() {
                unanswered = Some(failure);
            }
            sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Sends a command once, over a connection that may have to be made first.
    pub(super) async fn once(&self, command: &Cmd) -> Result<Value, Failure> {
        let (generation, mut connection) = self.connection().await?;
        let answer = self.sent(&mut connection, command).await;
        let Err(failure) = answer else {
            return answer;
        };
        if is_script_missing(&failure) {
            self.attach(&mut connection).await?;
            return self.sent(&mut connection, command).await;
        }
        if ends_connection(&failure) {
            self.forget(generation);
        }
        Err(failure)
    }

    async fn sent(&self, connection: &mut Connection, command: &Cmd) -> Result<Value, Failure> {
        let answer = connection.send(command).await;
        answer.map_err(|error| self.failure(error))
    }

    pub(super) fn failure(&self, error: redis::RedisError) -> Failure {
        Failure::of_answer(&self.address.to_string(), &self.namespace, error)
    }

    /// Has the server know the script, and returns what it says of itself.
    async fn attach(&self, connection: &mut Connection) -> Result<Attached, Failure> {
        let answer = self.sent(connection, &self.script.attach()).await?;
        let mut words = words(answer)?;
        let (_epoch, _run) = (next_text(&mut words)?, next_text(&mut words)?);
        Ok(Attached {
            eviction: next_text(&mut words)?,
            appends: next_text(&mut words)? == "1",
        })
    }

    /// Connects for the first time, and has a look at the server.
    pub(super) async fn begin(&self) -> Result<Attached, Failure> {
        let (_, mut connection) = self.connection().await?;
        self.attach(&mut connection).await
    }

    /// Opens a connection apart from the shared one, for reads that block for up to `block`.
    pub(super) async fn own_connection(&self, block: Duration) -> Result<Connection, Failure> {
        self.open(self.limits.response + block).await
    }

    async fn connection(&self) -> Result<(u64, Connection), Failure> {
        if let Some(connected) = self.connected() {
            return Ok(connected);
        }
        let turn = self.connecting.acquire().await;
        let _turn = turn.map_err(|_| Failure::Closed)?;
        if let Some(connected) = self.connected() {
            return Ok(connected);
        }
        let not_before = self.state.lock().not_before;
        if let Some(not_before) = not_before {
            sleep_until(not_before).await;
        }
        match self.open_attached().await {
            Ok(connection) => {
                let mut state = self.state.lock();
                state.generation += 1;
                state.connection = Some(connection.clone());
                (state.not_before, state.wait) = (None, SHORTEST_WAIT);
                Ok((state.generation, connection))
            }
            Err(failure) => {
                let mut state = self.state.lock();
                let wait = state.wait.clamp(SHORTEST_WAIT, LONGEST_WAIT);
                state.not_before = Some(Instant::now() + jittered(wait));
                state.wait = wait * 2;
                Err(failure)
            }
        }
    }

    fn connected(&self) -> Option<(u64, Connection)> {
        let state = self.state.lock();
        let connection = state.connection.clone()?;
        Some((state.generation, connection))
    }

    fn forget(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.connection = None;
        }
    }

    /// A connection is only of use when the server is ready: one that still loads its data is tried again.
    async fn open_attached(&self) -> Result<Connection, Failure> {
        let mut connection = self.open(self.limits.response).await?;
        self.attach(&mut connection).await?;
        Ok(connection)
    }

    async fn open(&self, response: Duration) -> Result<Connection, Failure> {
        let within = self.limits.connect;
        let opened = timeout(within, self.address.connect(response)).await;
        let at = || self.address.to_string();
        opened
            .map_err(|_| Failure::ConnectTimeout { at: at(), within })?
            .map_err(|source| Failure::Connect { at: at(), source })
    }
}

/// Draws a wait of half to all of `longest`, so that many who wait do not come back at once.
pub(super) fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(0.5 + 0.5 * chance())
}

/// Draws a number from 0 to 1.
fn chance() -> f64 {
    // Of a version 7 UUID only the last 32 bits are drawn anew each time; before them it counts.
    let random = Uuid::now_v7().as_u128() as u32;
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_and_stay_between_half_and_all() {
        let longest = Duration::from_secs(1);
        let waits: Vec<_> = (0..1000).map(|_| jittered(longest)).collect();
        assert!(
            waits
                .iter()
                .all(|wait| (longest / 2..=longest).contains(wait))
        );
        let early = waits.iter().filter(|wait| **wait < longest * 3 / 4).count();
        assert!((300..700).contains(&early), "{early}");
    }
}
