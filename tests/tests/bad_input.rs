//! Bad input and bad agents: each shows a clear error, and nothing else is lost by it.

#[path = "bad_input/agents.rs"]
mod agents;
#[path = "bad_input/crowded.rs"]
mod crowded;
#[path = "bad_input/payload.rs"]
mod payload;
#[path = "bad_input/shape.rs"]
mod shape;
mod stage;
