//! One connection to the broker, kept up by a supervisor of its own for as long as the bus is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::config::Address;
use super::error::Failure;
use super::name::Names;
use super::topology;

/// The shortest and the longest wait between two attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How often a connection is looked at, in case the driver forgot to say that it ended.
const WATCHDOG: Duration = Duration::from_millis(500);

/// A connection that is replaced when it breaks.
#[derive(Debug)]
pub(super) struct Link {
    what: &'static str,
    address: Address,
    names: Names,
    connect_timeout: Duration,
    current: watch::Sender<Option<Arc<Connection>>>,
    blocked: Mutex<Option<String>>,
    /// Fires when `blocked` changes.
    unblocked: tokio::sync::Notify,
    connects: AtomicU64,
    closed: CancellationToken,
}

impl Link {
    /// Connects for the first time.
    pub(super) async fn open(
        what: &'static str,
        address: Address,
        names: Names,
        connect_timeout: Duration,
        closed: CancellationToken,
    ) -> Result<Arc<Self>, Failure> {
        let link = Arc::new(Self {
            what,
            address,
            names,
            connect_timeout,
            current: watch::Sender::new(None),
            blocked: Mutex::new(None),
            unblocked: tokio::sync::Notify::new(),
            connects: AtomicU64::new(0),
            closed,
        });
        let connection = link.connect().await?;
        link.current.send_replace(Some(connection));
        Ok(link)
    }

    /// Keeps the connection up until the bus is closed, then closes it.
    pub(super) async fn supervise(self: Arc<Self>) {
        loop {
            let current = self.current.borrow().clone();
            let Some(connection) = current else { return };
            if self
                .closed
                .run_until_cancelled(self.watch(&connection))
                .await
                .is_none()
            {
                self.current.send_replace(None);
                // Whoever is in the middle of something sees the connection end; the broker does too, one way or the other.
                let _ = timeout(
                    Duration::from_secs(2),
                    connection.close(200, "bus closed".into()),
                )
                .await;
                return;
            }
            self.current.send_replace(None);
            tracing::warn!(connection = self.what, broker = %self.address, "connection lost");
            let again = self.closed.run_until_cancelled(self.reconnect()).await;
            let Some(connection) = again else { return };
            tracing::info!(connection = self.what, broker = %self.address, "connected again");
            self.current.send_replace(Some(connection));
        }
    }

    /// Returns the connection, if there is one now.
    pub(super) fn connection(&self) -> Option<Arc<Connection>> {
        self.current
            .borrow()
            .clone()
            .filter(|connection| connection.status().connected())
    }

    /// Waits for a connection, at most until the deadline.
    pub(super) async fn connected(&self, deadline: Instant) -> Result<Arc<Connection>, Failure> {
        timeout_at(deadline, self.connected_ever())
            .await
            .map_err(|_| Failure::Disconnected)?
            .ok_or(Failure::Disconnected)
    }

    /// Waits for a connection as long as it takes; `None` if the bus is closed.
    pub(super) async fn connected_ever(&self) -> Option<Arc<Connection>> {
        let mut current = self.current.subscribe();
        let is_up = |connection: &Option<Arc<Connection>>| {
            connection
                .as_ref()
                .is_some_and(|connection| connection.status().connected())
        };
        let up = self
            .closed
            .run_until_cancelled(current.wait_for(is_up))
            .await?;
        up.ok()?.clone()
    }

    /// Opens a channel on the current connection.
    pub(super) async fn channel(&self, deadline: Instant) -> Result<Channel, Failure> {
        let connection = self.connected(deadline).await?;
        timeout_at(deadline, connection.create_channel())
            .await
            .map_err(|_| Failure::Disconnected)?
            .map_err(Failure::Driver)
    }

    /// Returns why the broker blocks this connection, if it does.
    pub(super) fn blocked(&self) -> Option<String> {
        self.blocked.lock().clone()
    }

    /// Waits until the broker does not block this connection.
    pub(super) async fn unblocked(&self) {
        loop {
            let changed = self.unblocked.notified();
            tokio::pin!(changed);
            // Listening begins before the look, so that a change between the two is not missed.
            changed.as_mut().enable();
            if self.blocked.lock().is_none() {
                return;
            }
            changed.await;
        }
    }

    /// Counts the connections made so far.
    pub(super) fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    async fn connect(&self) -> Result<Arc<Connection>, Failure> {
        let attempt = async {
            let properties = ConnectionProperties::default()
                .with_connection_name(format!("coditect {}", self.what).into());
            let tls: OwnedTLSConfig = (*self.address.tls).clone();
            let runtime = lapin::runtime::default_runtime().map_err(Failure::Driver)?;
            let uri = self.address.uri.clone();
            let connection = Connection::connect_uri_with_config(uri, properties, tls, runtime)
                .await
                .map_err(|source| Failure::connect(&self.address.uri, source))?;
            let channel = connection.create_channel().await?;
            topology::declare_exchanges(&channel, &self.names).await?;
            Ok::<_, Failure>(Arc::new(connection))
        };
        let connection = timeout(self.connect_timeout, attempt).await.map_err(|_| {
            Failure::ConnectTimeout {
                at: self.address.to_string(),
            }
        })??;
        self.connects.fetch_add(1, Ordering::Relaxed);
        self.set_blocked(None);
        Ok(connection)
    }

    /// Tries until it works, with a growing wait, part of which is random so that a crowd does not come back at once.
    async fn reconnect(&self) -> Arc<Connection> {
        let (mut wait, longest) = BACKOFF;
        loop {
            sleep(wait.mul_f64(0.5 + 0.5 * fraction())).await;
            match self.connect().await {
                Ok(connection) => return connection,
                Err(error) => {
                    tracing::debug!(connection = self.what, %error, "cannot connect, trying again");
                }
            }
            wait = (wait * 2).min(longest);
        }
    }

    /// Returns when the connection is no more.
    async fn watch(&self, connection: &Connection) {
        let mut events = std::pin::pin!(connection.events_listener());
        while connection.status().connected() {
            match timeout(WATCHDOG, events.next()).await {
                Ok(Some(Event::ConnectionBlocked(reason))) => {
                    tracing::warn!(
                        connection = self.what,
                        reason,
                        "broker blocks the connection"
                    );
                    self.set_blocked(Some(reason));
                }
                Ok(Some(Event::ConnectionUnblocked)) => {
                    tracing::info!(connection = self.what, "broker unblocked the connection");
                    self.set_blocked(None);
                }
                // What was said before anybody listened shows in the status.
                Err(_) if connection.status().blocked() && self.blocked().is_none() => {
                    self.set_blocked(Some("no reason was heard".to_owned()));
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => return,
            }
        }
    }

    fn set_blocked(&self, reason: Option<String>) {
        *self.blocked.lock() = reason;
        self.unblocked.notify_waiters();
    }
}

/// Draws a number from 0 to 1.
fn fraction() -> f64 {
    let drawn = crate::MessageId::new().as_uuid().as_u64_pair().1;
    // The lower half is random; 32 bits of it are enough here.
    f64::from(u32::try_from(drawn & u64::from(u32::MAX)).unwrap_or(0)) / f64::from(u32::MAX)
}
