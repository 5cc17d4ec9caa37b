//! As much of AMQP 0-9-1 as it takes to hold a connection open and to see what the server says on it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Class and method of a frame.
pub(crate) type Method = (u16, u16);

pub(crate) const START: Method = (10, 10);
pub(crate) const TUNE: Method = (10, 30);
pub(crate) const OPEN_OK: Method = (10, 41);
pub(crate) const CLOSE: Method = (10, 50);
pub(crate) const BLOCKED: Method = (10, 60);
pub(crate) const UNBLOCKED: Method = (10, 61);
const CHANNEL_OPEN_OK: Method = (20, 11);

/// A connection to a vhost of a server.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn connect(place: &str, vhost: &str) -> Self {
        let mut client = Self(TcpStream::connect(place).await.unwrap());
        client.0.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        client.expect(START).await;
        let able = table(&[short("connection.blocked"), b"t\x01".to_vec()].concat());
        let properties = table(&[short("capabilities"), b"F".to_vec(), able].concat());
        let login = [&[0, 0, 0, 12], &b"\0guest\0guest"[..]].concat();
        let start_ok = [properties, short("PLAIN"), login, short("en_US")].concat();
        client.send(0, (10, 11), &start_ok).await;
        client.expect(TUNE).await;
        client.send(0, (10, 31), &[7, 255, 0, 2, 0, 0, 0, 0]).await;
        client
            .send(0, (10, 40), &[short(vhost), vec![0, 0]].concat())
            .await;
        client.expect(OPEN_OK).await;
        client
    }

    /// Publishes an empty message to the default exchange.
    pub(crate) async fn publish(&mut self, queue: &str) {
        self.send(1, (20, 10), &[0]).await;
        self.expect(CHANNEL_OPEN_OK).await;
        let body = [vec![0, 0, 0], short(queue), vec![0]].concat();
        self.send(1, (60, 40), &body).await;
        let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.frame(2, 1, &header).await;
    }

    /// Waits for the next method of the server, which has to be this one.
    pub(crate) async fn expect(&mut self, expected: Method) {
        let next = timeout(Duration::from_secs(20), self.next());
        assert_eq!(next.await.expect("the server says nothing"), expected);
    }

    async fn next(&mut self) -> Method {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).await.unwrap();
        let size = u32::from_be_bytes(head[3..].try_into().unwrap());
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload).await.unwrap();
        let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        (number(0), number(2))
    }

    async fn send(&mut self, channel: u16, (class, method): Method, arguments: &[u8]) {
        let method = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(1, channel, &[&method, arguments].concat()).await;
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&[kind], &channel.to_be_bytes()[..], &size, payload, &[0xce]].concat();
        self.0.write_all(&frame).await.unwrap();
    }
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn table(entries: &[u8]) -> Vec<u8> {
    let size = u32::try_from(entries.len()).unwrap().to_be_bytes();
    [&size, entries].concat()
}
