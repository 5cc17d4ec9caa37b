//! House style that a machine can check: what a file begins with, how long it may be, where it may point.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// A library file is split before it gets longer than this.
const MAX_LINES: usize = 400;

/// Files of text that people write.
const TEXTS: [&str; 8] = ["rs", "toml", "md", "sh", "yml", "yaml", "json", "html"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All files below a folder, without what is built and without git's own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let kind = entry.file_type().unwrap();
            if kind.is_file() {
                found.push(entry.path());
            } else if kind.is_dir()
                && !["target", ".git", "coverage"]
                    .iter()
                    .any(|skip| name == *skip)
            {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extensions.contains(&extension))
}

/// Rust files in one folder of every library.
fn library_files(folder: &str) -> Vec<PathBuf> {
    let crates = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
    let crates =
        crates.filter(|entry| entry.file_name().to_string_lossy().starts_with("coditect-"));
    let sources = crates.map(|entry| entry.path().join(folder));
    sources
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| files(&folder))
        .filter(|file| has_extension(file, &["rs"]))
        .collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[track_caller]
fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

/// Tells whether a file holds the tests of its neighbour, which its name says already.
fn is_test(file: &Path) -> bool {
    let parts = file.strip_prefix(root()).unwrap().components().skip(2);
    let mut names = parts.map(|part| part.as_os_str().to_string_lossy().into_owned());
    names.any(|name| name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs"))
}

/// Tells whether a Rust file says in its first line what it is for.
fn says_its_purpose(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first
        .strip_prefix("//! ")
        .is_some_and(|purpose| !purpose.trim().is_empty())
}

/// The beginnings of paths that exist on one machine only. Put together here, so that this file has none.
fn machine_paths() -> Vec<String> {
    let folders = ["home", "root", "work", "Users", "private/var", "mnt"];
    let unix = folders.iter().map(|folder| format!("/{folder}/"));
    unix.chain([format!("C:{}Users", '\\')]).collect()
}

/// Finds such a path where a path can begin; within a longer path the same folder is no such place.
fn machine_path(line: &str) -> Option<String> {
    machine_paths().into_iter().find(|path| {
        line.match_indices(path.as_str()).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !(c.is_alphanumeric() || "./_-}~*".contains(c)))
        })
    })
}

#[test]
fn every_file_says_its_purpose_in_its_first_line() {
    let mut all = Vec::new();
    for folder in ["src", "tests", "benches"] {
        all.extend(library_files(folder));
    }
    all.extend(
        files(&root().join("examples"))
            .into_iter()
            .filter(|file| has_extension(file, &["rs"])),
    );
    assert!(all.len() > 30, "only {} files", all.len());
    let broken: Vec<_> = all
        .iter()
        .filter(|file| !is_test(file))
        .filter(|file| !says_its_purpose(&fs::read_to_string(file).unwrap()))
        .map(|file| shown(file))
        .collect();
    assert_none(&broken, "files whose first line is no `//!` line");
}

#[test]
fn no_library_file_is_longer_than_400_lines() {
    let sources = library_files("src");
    assert!(sources.len() > 30, "only {} files", sources.len());
    let mut broken = Vec::new();
    for file in sources {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines > MAX_LINES {
            broken.push(format!("{}: {lines} lines", shown(&file)));
        }
    }
    assert_none(&broken, "files to split");
}

#[test]
fn nothing_points_to_a_place_on_one_machine() {
    let mut texts: Vec<_> = files(root())
        .into_iter()
        .filter(|file| has_extension(file, &TEXTS))
        .collect();
    texts.push(root().join(".ci/run"));
    assert!(texts.len() > 50, "only {} files", texts.len());
    let mut broken = Vec::new();
    for file in texts {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            if let Some(path) = machine_path(line) {
                broken.push(format!("{}:{}: {path}", shown(&file), number + 1));
            }
        }
    }
    assert_none(&broken, "paths that exist on one machine only");
}

#[test]
fn what_breaks_a_rule_is_found() {
    assert!(says_its_purpose("//! A purpose.\n"));
    for wrong in [
        "",
        "//!",
        "//!   ",
        "// No doc line.",
        "\n//! Too late.",
        "use std::fs;",
    ] {
        assert!(!says_its_purpose(wrong), "{wrong:?}");
    }
    for path in machine_paths() {
        assert!(
            machine_path(&format!("see {path}someone")).is_some(),
            "{path}"
        );
        assert!(machine_path(&path).is_some(), "{path}");
        assert!(
            machine_path(&format!("{{root}}{path}someone")).is_none(),
            "{path}"
        );
    }
    assert_eq!(machine_path("a URL: https://example.org/home/page"), None);
    assert_eq!(machine_path("a worked example"), None);
}
