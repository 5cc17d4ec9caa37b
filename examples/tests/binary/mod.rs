//! Where the program of an example is.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The example's program, which Cargo builds with the tests and puts beside them.
///
/// Only `cargo test --test NAME` leaves it unbuilt; an old one must not stand in for it.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are in target/…/deps");
    let binary = target.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    let built = modified(&binary);
    assert!(
        built.is_some() && built >= modified(&source(name)),
        "{} is missing or older than its source: run `cargo test -p coditect-examples`, which builds it",
        binary.display(),
    );
    binary
}

/// The example's source, or the file with which it begins.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.rs"))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}
