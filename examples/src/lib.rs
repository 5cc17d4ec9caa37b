//! What the larger examples of CODITECT are made of; each example is a target of this package.

pub mod code_audit;
