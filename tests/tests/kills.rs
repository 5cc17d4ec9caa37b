//! Processes that are killed while they keep runs: nothing accepted is lost, nothing is completed twice, every run ends.
//!
//! The seed is `CODITECT_TEST_SEED`, and printed; `CODITECT_TEST_KILLS` says how often each test strikes, a few times otherwise.

#![cfg(unix)]

#[path = "kills/check.rs"]
mod check;
#[path = "kills/damage.rs"]
mod damage;
#[path = "kills/disk.rs"]
mod disk;
#[path = "kills/file.rs"]
mod file;
#[path = "kills/servers.rs"]
mod servers;
#[path = "kills/slot.rs"]
mod slot;
