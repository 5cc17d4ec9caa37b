//! Whole-system tests of CODITECT live in the `tests` folder of this package; here is what they share with the processes
//! that they start.

pub mod keeping;
