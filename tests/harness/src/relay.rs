//! A bad network: a TCP relay that cuts, stalls, slows and half-opens what passes through it.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::random::Random;

/// A TCP relay in front of a server. It ends, and cuts all connections, when it is dropped.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _end: DropGuard,
}

/// Cuts the connections of a [`Relay`] from time to time until it is dropped.
#[derive(Debug)]
pub struct Cutting {
    _end: DropGuard,
}

/// What the network does to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Flow,
    /// Bytes per second, each way.
    Slow(u64),
    Stall,
    HalfOpen,
    Refuse,
}

#[derive(Debug)]
struct Shared {
    target: String,
    mode: watch::Sender<Mode>,
    /// Cancelled, and replaced, to cut the connections that there are.
    cut: Mutex<CancellationToken>,
    open: AtomicUsize,
    accepted: AtomicUsize,
}

impl Relay {
    /// Listens on a free port, and relays each connection to `target`, which is `host:port`.
    ///
    /// # Errors
    ///
    /// Those of listening. A target that is not there is what clients see: their connection is reset.
    pub async fn start(target: impl ToString) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: target.to_string(),
            mode: watch::Sender::new(Mode::Flow),
            cut: Mutex::new(CancellationToken::new()),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let end = CancellationToken::new();
        let serving = end
            .clone()
            .run_until_cancelled_owned(serve(listener, Arc::clone(&shared)));
        tokio::spawn(serving);
        Ok(Self {
            addr,
            shared,
            _end: end.drop_guard(),
        })
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections there are now.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Resets all connections. New ones are relayed as before.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Resets all connections, at random times that follow from `seed` and are `mean` apart on average (between half
    /// and one and a half times that), until the returned guard is dropped.
    pub fn cut_at_random(&self, seed: u64, mean: Duration) -> Cutting {
        let end = CancellationToken::new();
        let shared = Arc::clone(&self.shared);
        let mut random = Random::seeded(seed);
        tokio::spawn(end.clone().run_until_cancelled_owned(async move {
            loop {
                sleep(mean / 2 + mean * u32::try_from(random.below(1000)).unwrap_or(0) / 1000)
                    .await;
                shared.cut();
            }
        }));
        Cutting {
            _end: end.drop_guard(),
        }
    }

    /// Holds all bytes back, as a network does that has lost its way: nobody sees an end.
    pub fn stall(&self) {
        self.shared.mode.send_replace(Mode::Stall);
    }

    /// Lets so many bytes through in a second, each way and for each connection.
    pub fn slow(&self, bytes_per_second: u64) {
        self.shared
            .mode
            .send_replace(Mode::Slow(bytes_per_second.max(1)));
    }

    /// Takes the server's side of each connection away, and leaves the client's: what a client sends vanishes, and it
    /// hears nothing. New connections are of the same kind.
    pub fn half_open(&self) {
        self.shared.mode.send_replace(Mode::HalfOpen);
    }

    /// Resets all connections, and every new one at once, as if no server were there.
    pub fn refuse(&self) {
        self.shared.mode.send_replace(Mode::Refuse);
        self.shared.cut();
    }

    /// Lets everything pass again. Connections that were half open are reset, for what they lost cannot be made up for.
    pub fn resume(&self) {
        self.shared.mode.send_replace(Mode::Flow);
    }
}

impl Shared {
    fn cut(&self) {
        let mut cut = self.cut.lock();
        cut.cancel();
        *cut = CancellationToken::new();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let cut = shared.cut.lock().clone();
                connections.spawn(relay(client, Arc::clone(&shared), cut));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Relays one connection until both sides have ended it, or it is cut.
async fn relay(mut client: TcpStream, shared: Arc<Shared>, cut: CancellationToken) {
    let _open = Open::new(&shared);
    let orderly = cut.run_until_cancelled(through(&mut client, &shared)).await;
    if orderly != Some(true) {
        // A drop is a reset then.
        let _ = client.set_zero_linger();
    }
}

/// Tells whether the connection had an orderly end.
async fn through(client: &mut TcpStream, shared: &Shared) -> bool {
    let mut mode = shared.mode.subscribe();
    let now = *mode.borrow();
    if now == Mode::Refuse {
        return false;
    }
    if now != Mode::HalfOpen {
        let Ok(mut server) = TcpStream::connect(&shared.target).await else {
            return false;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        tokio::select! {
            orderly = both_ways(client, &mut server, shared) => return orderly,
            _ = mode.wait_for(|mode| *mode == Mode::HalfOpen) => {}
        }
    }
    tokio::select! {
        () = swallow(client) => {}
        _ = mode.wait_for(|mode| *mode != Mode::HalfOpen) => {}
    }
    false
}

async fn both_ways(client: &mut TcpStream, server: &mut TcpStream, shared: &Shared) -> bool {
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let up = pass(client_read, server_write, shared.mode.subscribe());
    let down = pass(server_read, client_write, shared.mode.subscribe());
    // An end on one side lets the other go on; a failure on one side is one of both.
    tokio::try_join!(up, down).is_ok()
}

/// Passes bytes on until the reader ends, and then says so to the writer.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let room = match *mode.borrow() {
            Mode::Slow(rate) => {
                usize::try_from(rate / 20).map_or(buffer.len(), |room| room.clamp(1, buffer.len()))
            }
            _ => buffer.len(),
        };
        let count = from.read(&mut buffer[..room]).await?;
        let now = *mode.borrow();
        if let Mode::Slow(rate) = now {
            let due = Duration::from_secs_f64(count as f64 / rate as f64);
            // A change of the mode ends the wait, so that nobody waits at a speed that is over.
            let _ = timeout(due, mode.wait_for(|mode| *mode != now)).await;
        }
        // What was read before a stall waits here.
        if mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
            return pending().await;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

async fn swallow(client: &mut TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while client.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// Counts a connection while it is there.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}
