//! Private servers and broken networks for tests.
//!
//! A test that needs a real server asks for it, gets a place of its own on it, and goes on without cleaning up: every
//! server is private (free ports, data in a temporary folder), and none outlives the test process, not even when that
//! is killed.
//!
//! ```no_run
//! use coditect_harness::{RabbitMq, required};
//!
//! # async fn test() -> Result<(), coditect_harness::Error> {
//! let Some(broker) = required(RabbitMq::shared()).await else {
//!     return Ok(()); // asked for with `CODITECT_SKIP_SERVERS=1`, and said
//! };
//! let vhost = broker.vhost().await?;
//! println!("connect to {}", vhost.url());
//! # Ok(())
//! # }
//! ```
//!
//! [`Relay`] stands between a client and a server and cuts, stalls, slows and half-opens what passes through it.
//!
//! # Variables
//!
//! | variable | meaning |
//! |---|---|
//! | `CODITECT_SKIP_SERVERS=1` | tests that need a server are left out, and each says so on stderr |
//! | `CODITECT_TEST_RABBITMQ` | the address (`amqp://user:password@host:port`) of a server to use instead of private ones |
//! | `CODITECT_TEST_RABBITMQ_MANAGEMENT` | where its management plugin listens (`host:port`), if that is not port 15672 of the same host |
//! | `CODITECT_TEST_REDIS` | the address (`redis://user:password@host:port/db`) of a server to use instead of private ones |
//! | `CODITECT_TEST_SEED` | the seed of [`seed`], to repeat a run |
//!
//! The time of a test that uses a server must not be paused: servers do not follow it.

mod address;
mod error;
mod guard;
mod http;
mod port;
mod random;
mod relay;
mod required;

pub mod rabbitmq;
pub mod redis;

pub use error::{Error, ErrorKind};
pub use rabbitmq::{RabbitMq, Vhost};
pub use random::{Random, seed};
pub use redis::{Redis, RedisOptions};
pub use relay::{Cutting, Relay};
pub use required::{not_tested, required};
