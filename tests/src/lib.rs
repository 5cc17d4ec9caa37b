//! Whole-system tests of CODITECT live in the `tests` folder of this package.
