//! What handlers know of their task, and what they can do beside answering.

#[path = "context/child.rs"]
mod child;
#[path = "context/keep.rs"]
mod keep;
#[path = "context/tell.rs"]
mod tell;

mod stage;
