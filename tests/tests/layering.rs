//! The rules of the house, read from `cargo metadata`: who may depend on whom, and what all share.
//!
//! Every rule is a function from the workspace to the list of what breaks it, so that each one is also shown to
//! find what it is there for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "layering/broken.rs"]
mod broken;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde::Deserialize;

/// The crates that own one idea each and know nothing of each other.
const LEAVES: [&str; 6] = [
    "coditect-bus",
    "coditect-dag",
    "coditect-registry",
    "coditect-resilience",
    "coditect-state",
    "coditect-telemetry",
];

/// The crate that composes them.
const CORE: &str = "coditect-core";

/// Private servers for tests: all may use it for development, and it knows none of them.
const HARNESS: &str = "coditect-harness";

/// What stands on top, and sees core alone.
const TOP: [&str; 3] = ["coditect-cli", "coditect-examples", "coditect-tests"];

/// The one optional arrow between leaves: from, to, and the feature that draws it.
const PERSISTENT: (&str, &str, &str) = ("coditect-dag", "coditect-state", "persistent");

/// A feature is named after the system it brings, or is one of these words.
const FEATURES: [&str; 9] = [
    "default",
    "full",
    "test-util",
    "persistent",
    "embedded",
    "foundationdb",
    "otlp",
    "rabbitmq",
    "redis",
];

/// Words that say nothing about what a crate owns.
const EMPTY_WORDS: [&str; 8] = [
    "common", "util", "utils", "types", "shared", "base", "helper", "helpers",
];

#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    edition: String,
    rust_version: Option<String>,
    license: Option<String>,
    description: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Dependency {
    name: String,
    /// `None`: for the library itself.
    kind: Option<String>,
    optional: bool,
    path: Option<PathBuf>,
}

impl Package {
    /// The dependencies that are crates of this house.
    fn arrows(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
    }

    fn manifest(&self) -> toml::Table {
        fs::read_to_string(&self.manifest_path)
            .unwrap()
            .parse()
            .unwrap()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn workspace() -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    metadata.packages
}

#[track_caller]
fn assert_nothing_breaks(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Rule: arrows point from the top to core and from core to the leaves, and nowhere else; tests may use the harness.
fn wrong_arrows(packages: &[Package]) -> Vec<String> {
    let mut broken = Vec::new();
    for package in packages {
        let from = package.name.as_str();
        for arrow in package.arrows() {
            let to = arrow.name.as_str();
            let allowed = if to == HARNESS {
                from != HARNESS && arrow.kind.as_deref() == Some("dev")
            } else if LEAVES.contains(&from) {
                (from, to) == (PERSISTENT.0, PERSISTENT.1)
                    && (arrow.kind.as_deref() == Some("dev") || is_persistent_only(package, arrow))
            } else if from == CORE {
                LEAVES.contains(&to)
            } else {
                TOP.contains(&from) && to == CORE
            };
            if !allowed {
                broken.push(format!("{from} must not depend on {to}"));
            }
        }
    }
    broken
}

/// Tells whether nothing but the feature `persistent` switches an optional dependency on.
fn is_persistent_only(package: &Package, arrow: &Dependency) -> bool {
    let names_it = |entry: &String| {
        let name = entry.strip_prefix("dep:").unwrap_or(entry);
        let name = name.split('/').next().unwrap_or(name);
        name == arrow.name
    };
    let drawn_by_others = package
        .features
        .iter()
        .any(|(feature, entries)| feature != PERSISTENT.2 && entries.iter().any(names_it));
    arrow.optional && !drawn_by_others
}

/// Rule: every crate has its place, and every leaf is there and known to core.
fn without_a_place(packages: &[Package]) -> Vec<String> {
    let mut broken = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let has_place = LEAVES.contains(&name) || [CORE, HARNESS].contains(&name);
        if !(has_place || TOP.contains(&name)) {
            broken.push(format!("{name} has no place in the house"));
        }
        if name
            .split(['-', '_'])
            .any(|word| EMPTY_WORDS.contains(&word))
        {
            broken.push(format!("{name} is a name that says nothing"));
        }
    }
    let core = packages.iter().find(|package| package.name == CORE);
    for leaf in LEAVES {
        if !packages.iter().any(|package| package.name == leaf) {
            broken.push(format!("{leaf} is missing"));
        }
        if !core.is_some_and(|core| core.arrows().any(|arrow| arrow.name == leaf)) {
            broken.push(format!("{CORE} does not compose {leaf}"));
        }
    }
    broken
}

/// Rule: features have the names of systems, and those of core only forward.
fn wrong_features(packages: &[Package]) -> Vec<String> {
    let mut broken = Vec::new();
    for package in packages {
        for (feature, entries) in &package.features {
            if !FEATURES.contains(&feature.as_str()) {
                broken.push(format!("{} has a feature {feature}", package.name));
            }
            let forwards =
                |entry: &String| entry.contains('/') || package.features.contains_key(entry);
            if package.name == CORE && !entries.iter().all(forwards) {
                broken.push(format!(
                    "feature {feature} of {CORE} does more than forward"
                ));
            }
        }
    }
    broken
}

/// Rule: all packages have the same version, edition, Rust version and licence, and say what they are.
fn different_from_the_rest(packages: &[Package]) -> Vec<String> {
    let Some(first) = packages.first() else {
        return vec!["there are no packages".to_owned()];
    };
    let shared = |package: &Package| {
        let (rust, licence) = (package.rust_version.clone(), package.license.clone());
        [
            Some(package.version.clone()),
            Some(package.edition.clone()),
            rust,
            licence,
        ]
    };
    let mut broken = Vec::new();
    for package in packages {
        if shared(package) != shared(first) || shared(package).contains(&None) {
            broken.push(format!(
                "{} differs from {} in version, edition, rust-version or licence",
                package.name, first.name
            ));
        }
        if package.description.as_ref().is_none_or(String::is_empty) {
            broken.push(format!("{} does not say what it is", package.name));
        }
    }
    broken
}

/// Rule: a manifest takes its lints and every dependency from the workspace.
fn not_from_the_workspace(name: &str, manifest: &toml::Table) -> Vec<String> {
    let is_inherited =
        |value: &toml::Value| value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
    let mut broken = Vec::new();
    if !manifest.get("lints").is_some_and(is_inherited) {
        broken.push(format!("{name} has lints of its own"));
    }
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let sections = std::iter::once(manifest).chain(
        targets
            .into_iter()
            .flat_map(toml::Table::values)
            .filter_map(toml::Value::as_table),
    );
    for section in sections {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = section.get(kind).and_then(toml::Value::as_table) else {
                continue;
            };
            for (dependency, value) in dependencies {
                if !is_inherited(value) {
                    broken.push(format!("{name} chooses its own {dependency} in {kind}"));
                }
            }
        }
    }
    broken
}

#[test]
fn no_leaf_depends_on_a_neighbour_or_on_core() {
    assert_nothing_breaks(&wrong_arrows(&workspace()));
}

#[test]
fn every_crate_has_its_place_and_core_composes_all_leaves() {
    assert_nothing_breaks(&without_a_place(&workspace()));
}

#[test]
fn features_are_named_after_systems_and_core_only_forwards() {
    assert_nothing_breaks(&wrong_features(&workspace()));
}

#[test]
fn all_packages_share_version_edition_rust_version_and_licence() {
    assert_nothing_breaks(&different_from_the_rest(&workspace()));
}

#[test]
fn every_dependency_and_all_lints_come_from_the_workspace() {
    let packages = workspace();
    let broken: Vec<_> = packages
        .iter()
        .flat_map(|package| not_from_the_workspace(&package.name, &package.manifest()))
        .collect();
    assert_nothing_breaks(&broken);
}
