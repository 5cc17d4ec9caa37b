//! Free ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::Error;
use crate::random::Random;

/// Where ports are looked for: below those that the system lends to clients (from 32768). A client that keeps
/// connecting to a lent port while its server is down sooner or later connects to itself, and then the server cannot
/// have its port back.
const FIRST: u64 = 15_000;
const COUNT: u64 = 17_000;

/// Finds ports on the loopback interface that nobody listens on.
pub(crate) fn free<const N: usize>() -> Result<[u16; N], Error> {
    let mut random = Random::unforeseen();
    let mut held = Vec::with_capacity(N);
    for _ in 0..1000 {
        if held.len() == N {
            break;
        }
        // Below 32000, so the cast is exact.
        let port = (FIRST + random.below(COUNT)) as u16;
        // Held until all are found, so that none is found twice.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    ports
        .try_into()
        .map_err(|_| Error::failed("no free ports below 32000"))
}
