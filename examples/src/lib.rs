//! What the examples of CODITECT share, and what the larger ones are made of; each example is a target of this package.

pub mod bus;
pub mod code_audit;
pub mod output;
pub mod registry;
