//! A relay breaks connections in the ways that it says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use coditect_harness::Relay;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Long enough for bytes that are let through, also on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// How long nothing has to come for it to count as nothing.
const NOTHING: Duration = Duration::from_millis(200);

/// A server that answers every byte with the same byte, and reports how each connection ended.
async fn echo() -> (SocketAddr, mpsc::Receiver<Result<(), ErrorKind>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (ended, ends) = mpsc::channel(1000);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let ended = ended.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let end = loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) => break Ok(()),
                        Ok(count) => {
                            if let Err(error) = stream.write_all(&buffer[..count]).await {
                                break Err(error.kind());
                            }
                        }
                        Err(error) => break Err(error.kind()),
                    }
                };
                let _ = ended.send(end).await;
            });
        }
    });
    (addr, ends)
}

async fn connect(relay: &Relay) -> TcpStream {
    TcpStream::connect(relay.addr()).await.unwrap()
}

/// Sends a byte, and waits for it to come back.
async fn ping(stream: &mut TcpStream) -> Result<u8, ErrorKind> {
    let exchange = async {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    };
    let answer = timeout(SOON, exchange).await.unwrap();
    answer.map_err(|error| error.kind())
}

async fn end(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    let read = timeout(SOON, stream.read(&mut [0; 16])).await.unwrap();
    read.map_err(|error| error.kind())
}

#[tokio::test]
async fn bytes_pass_both_ways_and_so_does_an_orderly_end() {
    let (addr, mut ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let mut client = connect(&relay).await;
    client.write_all(&[7; 100_000]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, client.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, vec![7; 100_000]);
    assert_eq!(ends.recv().await, Some(Ok(())));
    assert_eq!(relay.accepted(), 1);
}

#[tokio::test]
async fn a_cut_resets_what_is_there_and_lets_new_ones_through() {
    let (addr, mut ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let (mut one, mut other) = (connect(&relay).await, connect(&relay).await);
    assert_eq!(
        (ping(&mut one).await, ping(&mut other).await),
        (Ok(b'x'), Ok(b'x'))
    );
    assert_eq!(relay.connections(), 2);

    relay.cut();
    assert_eq!(end(&mut one).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(end(&mut other).await, Err(ErrorKind::ConnectionReset));
    for _ in 0..2 {
        timeout(SOON, ends.recv()).await.unwrap().unwrap().ok();
    }
    assert_eq!(relay.connections(), 0);
    assert_eq!(ping(&mut connect(&relay).await).await, Ok(b'x'));
}

#[tokio::test]
async fn a_stall_holds_bytes_back_and_loses_none() {
    let (addr, mut ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let mut client = connect(&relay).await;
    assert_eq!(ping(&mut client).await, Ok(b'x'));

    relay.stall();
    client.write_all(b"later").await.unwrap();
    let mut answer = [0; 5];
    assert!(timeout(NOTHING, client.peek(&mut answer)).await.is_err());
    assert!(ends.try_recv().is_err(), "the server noticed");

    relay.resume();
    timeout(SOON, client.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"later");
}

#[tokio::test]
async fn a_stalled_connection_can_be_cut() {
    let (addr, _ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let mut client = connect(&relay).await;
    assert_eq!(ping(&mut client).await, Ok(b'x'));
    relay.stall();
    client.write_all(b"never").await.unwrap();
    relay.cut();
    assert_eq!(end(&mut client).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn slow_is_as_slow_as_it_says_until_resumed() {
    let (addr, _ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let mut client = connect(&relay).await;
    assert_eq!(ping(&mut client).await, Ok(b'x'));

    relay.slow(10_000);
    let begun = Instant::now();
    client.write_all(&[1; 3_000]).await.unwrap();
    client.read_exact(&mut [0; 3_000]).await.unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");

    relay.slow(1);
    client.write_all(&[1; 3_000]).await.unwrap();
    relay.resume();
    let mut rest = [0; 3_000];
    let rest = client.read_exact(&mut rest);
    assert!(timeout(SOON, rest).await.unwrap().is_ok());
}

#[tokio::test]
async fn half_open_leaves_the_client_alone_with_a_connection() {
    let (addr, mut ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let mut client = connect(&relay).await;
    assert_eq!(ping(&mut client).await, Ok(b'x'));

    relay.half_open();
    timeout(SOON, ends.recv()).await.unwrap().unwrap().ok();
    let mut late = connect(&relay).await;
    for stream in [&mut client, &mut late] {
        stream.write_all(&[0; 1_000_000]).await.unwrap();
        assert!(timeout(NOTHING, stream.peek(&mut [0])).await.is_err());
    }

    relay.resume();
    assert_eq!(end(&mut client).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(end(&mut late).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(ping(&mut connect(&relay).await).await, Ok(b'x'));
}

#[tokio::test]
async fn refused_and_unreachable_look_the_same() {
    let (addr, _ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let mut client = connect(&relay).await;
    assert_eq!(ping(&mut client).await, Ok(b'x'));
    relay.refuse();
    assert_eq!(end(&mut client).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(
        end(&mut connect(&relay).await).await,
        Err(ErrorKind::ConnectionReset)
    );
    relay.resume();
    assert_eq!(ping(&mut connect(&relay).await).await, Ok(b'x'));

    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = unused.local_addr().unwrap();
    drop(unused);
    let relay = Relay::start(nobody).await.unwrap();
    assert_eq!(
        end(&mut connect(&relay).await).await,
        Err(ErrorKind::ConnectionReset)
    );
}

#[tokio::test]
async fn random_cuts_come_until_their_guard_is_dropped() {
    let (addr, _ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let cutting = relay.cut_at_random(7, Duration::from_millis(10));
    for _ in 0..5 {
        let mut client = connect(&relay).await;
        assert!(end(&mut client).await.is_err(), "a cut");
    }
    drop(cutting);
    tokio::task::yield_now().await;
    let mut client = connect(&relay).await;
    assert_eq!(ping(&mut client).await, Ok(b'x'));
    assert!(timeout(NOTHING, client.peek(&mut [0])).await.is_err());
}

#[tokio::test]
async fn a_relay_takes_its_connections_along() {
    let (addr, mut ends) = echo().await;
    let relay = Relay::start(addr).await.unwrap();
    let mut client = connect(&relay).await;
    assert_eq!(ping(&mut client).await, Ok(b'x'));
    let gone = relay.addr();
    drop(relay);
    assert!(matches!(
        end(&mut client).await,
        Ok(0) | Err(ErrorKind::ConnectionReset)
    ));
    timeout(SOON, ends.recv()).await.unwrap().unwrap().ok();
    assert!(TcpStream::connect(gone).await.is_err());
}
