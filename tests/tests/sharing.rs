//! Several coordinators share the partitions: evenly, whoever comes, leaves or dies, and without doing anything twice.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "sharing/even.rs"]
mod even;
#[path = "sharing/leaving.rs"]
mod leaving;
#[path = "sharing/loaded.rs"]
mod loaded;
#[path = "sharing/redis.rs"]
mod redis;
#[path = "sharing/shaky.rs"]
mod shaky;
#[path = "sharing/trouble.rs"]
mod trouble;

mod stage;
