//! Which package a file belongs to: the nearest manifest above it decides.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Manifests are read to this size; a longer one is no manifest written by people.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Finds packages by directory, reading each manifest once.
pub(super) struct Packages {
    root: PathBuf,
    /// From a directory relative to the root to the package that it lies in, if any.
    by_directory: HashMap<PathBuf, Option<String>>,
}

impl Packages {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            by_directory: HashMap::new(),
        }
    }

    /// Names the package of `file`, a path relative to the root: unique within the tree.
    ///
    /// A file in no package belongs to its top-level directory, written `directory/`, or to `./`.
    pub(super) fn of(&mut self, file: &Path) -> String {
        let directory = file.parent().unwrap_or(Path::new(""));
        if let Some(package) = self.lookup(directory) {
            return package;
        }
        match directory.iter().next() {
            Some(top) => format!("{}/", top.to_string_lossy()),
            None => "./".to_owned(),
        }
    }

    fn lookup(&mut self, directory: &Path) -> Option<String> {
        if let Some(known) = self.by_directory.get(directory) {
            return known.clone();
        }
        let own = declared_name(&self.root.join(directory).join("Cargo.toml"))
            .map(|name| label(&name, directory));
        let package = match (own, directory.parent()) {
            (None, Some(parent)) => self.lookup(parent),
            (own, _) => own,
        };
        self.by_directory
            .insert(directory.to_path_buf(), package.clone());
        package
    }
}

/// The name alone where it is the directory's too, else with the directory: so two are never equal.
fn label(name: &str, directory: &Path) -> String {
    if directory == Path::new(name) {
        return name.to_owned();
    }
    match super::slashed(directory) {
        root if root.is_empty() => format!("{name} (.)"),
        directory => format!("{name} ({directory})"),
    }
}

fn declared_name(manifest: &Path) -> Option<String> {
    // A pipe named Cargo.toml would block the walk for ever.
    if !manifest.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let file = std::fs::File::open(manifest).ok()?;
    file.take(MAX_MANIFEST_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    let manifest: toml::Table = text.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}
