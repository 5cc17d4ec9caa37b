//! Examples of CODITECT; each is a target of this package.
