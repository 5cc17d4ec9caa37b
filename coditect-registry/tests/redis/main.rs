//! The registry on real Redis servers: the contract, and what servers, networks and strangers do to it.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

mod connect;
mod crowd;
mod expire;
mod failover;
mod network;
mod restart;
mod route;
mod stranger;
mod support;

mod conformance {
    //! The contract, one test per rule.

    coditect_registry::registry_conformance!(real_time: super::support::subject);
}
