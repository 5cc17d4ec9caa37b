//! Where the program of an example is.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The example's program, which Cargo builds with the tests and puts beside them.
///
/// Where only some targets were built (`cargo test --tests`, coverage) it is built here; an old one must
/// not stand in for it.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are in target/…/deps");
    let binary = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    if !is_current(&binary, name) {
        build(name, profile);
    }
    assert!(
        is_current(&binary, name),
        "{} is not there",
        binary.display()
    );
    binary
}

/// Says whether a program is there and younger than what it is made of in this package.
fn is_current(binary: &Path, name: &str) -> bool {
    let mut sources = vec![source(name)];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let found = if path.is_dir() {
                &mut folders
            } else {
                &mut sources
            };
            found.push(path);
        }
    }
    let newest = sources.iter().filter_map(|path| modified(path)).max();
    modified(binary).is_some_and(|built| Some(built) >= newest)
}

/// Builds an example into the folder that the tests were built into.
fn build(name: &str, profile: &Path) {
    let target = profile.parent().expect("profiles are in the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "-p",
            "coditect-examples",
            "--example",
            name,
        ])
        .arg("--target-dir")
        .arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.status().expect("cargo can be started");
    assert!(built.success(), "the example {name} does not build");
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
