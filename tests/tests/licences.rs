//! Every dependency has a licence that `deny.toml` allows: checked with nothing but cargo.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn allowed() -> Vec<String> {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    toml::from_str::<Deny>(&text).unwrap().licenses.allow
}

/// Everything that a build on this machine can take in, with all features and for development.
fn packages() -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--all-features"])
        // Without the platform cargo would fetch what other platforms need.
        .args(["--filter-platform", &host()])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice::<Metadata>(&output.stdout)
        .unwrap()
        .packages
}

/// The platform that this machine's compiler builds for.
fn host() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

/// Judges an SPDX expression: every `AND` needs one allowed `OR` alternative. Parentheses bind as usual, and the old
/// `/` means `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, allowed) && rest.is_empty()
}

fn either(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut good = both(words, allowed);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        good |= both(words, allowed);
    }
    good
}

fn both(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut good = one(words, allowed);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        good &= one(words, allowed);
    }
    good
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let good = either(words, allowed);
            let closed = words.first() == Some(&")");
            *words = words.get(1..).unwrap_or_default();
            good && closed
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            allowed.contains(&format!("{licence} WITH {exception}"))
        }
        [licence, rest @ ..] => {
            *words = rest;
            allowed.iter().any(|good| good == licence)
        }
        [] => false,
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = allowed();
    let packages = packages();
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let broken: Vec<_> = packages
        .iter()
        .filter(|package| {
            let licence = package.license.as_deref();
            !licence.is_some_and(|licence| is_allowed(licence, &allowed))
        })
        .map(|package| {
            let licence = package.license.as_deref().unwrap_or("no licence");
            format!("{} {}: {licence}", package.name, package.version)
        })
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn a_licence_that_is_not_allowed_is_found() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "MIT AND Apache-2.0",
        "(MIT OR GPL-3.0) AND Apache-2.0",
        "Apache-2.0 WITH LLVM-exception AND MIT",
        "GPL-3.0 AND ISC OR MIT",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND GPL-3.0",
        "MIT WITH LLVM-exception",
        "(MIT",
        "MIT Apache-2.0",
        "MIT)",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
