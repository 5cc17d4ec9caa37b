//! What of a file users of its library can reach, judged by the modules above it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use syn::Ident;

use crate::code_audit::analysis::is_test_path;

/// Modules above a file are read to this size.
const MAX_MODULE_BYTES: u64 = 1 << 20;

/// Which public items of a file are part of the library's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reach {
    /// All of them, or that cannot be told.
    Everything,
    /// Only those that a module above re-exports by name.
    Names(BTreeSet<String>),
    /// None: a binary, a test, a private module.
    Nothing,
}

impl Reach {
    /// Follows the module path of `file`, relative to `root`, down from its crate's `lib.rs`.
    ///
    /// The modules above are read as text: a `mod` declaration and the `pub use` next to it are regular
    /// enough, and parsing them again for each of their files would cost more than it tells.
    pub(crate) fn of(file: &str, root: &Path) -> Self {
        if is_test_path(file) || file.ends_with("build.rs") {
            return Self::Nothing;
        }
        let Some((package, inside)) = split_source(file) else {
            // Only a file that stands alone may be a library of its own.
            return if file.contains('/') {
                Self::Nothing
            } else {
                Self::Everything
            };
        };
        let package = root.join(package);
        if inside == "lib.rs" {
            return Self::Everything;
        }
        let modules = module_path(inside);
        if modules.is_empty() || modules[0] == "bin" || !package.join("src/lib.rs").is_file() {
            return Self::Nothing;
        }
        Self::follow(&package.join("src"), &modules)
    }

    fn follow(src: &Path, modules: &[&str]) -> Self {
        let mut above = vec![read(&src.join("lib.rs"))];
        for (depth, module) in modules.iter().enumerate() {
            let parent = above.last().map(String::as_str).unwrap_or_default();
            if parent.contains(&format!("macro_rules! {module}")) || !declares(parent, module) {
                // Declared by a macro or with `#[path]`: nothing is known.
                return Self::Everything;
            }
            if !declares_public(parent, module) {
                return Self::exported(&above, module);
            }
            let directory = modules[..=depth]
                .iter()
                .fold(src.to_path_buf(), |dir, part| dir.join(part));
            let own = directory.with_extension("rs");
            let own = if own.is_file() {
                own
            } else {
                directory.join("mod.rs")
            };
            above.push(read(&own));
        }
        Self::Everything
    }

    /// What of the private `module` the modules above it re-export.
    fn exported(above: &[String], module: &str) -> Self {
        let mut names = BTreeSet::new();
        for statement in above.iter().flat_map(|text| public_uses(text)) {
            let words: Vec<_> = words(statement).collect();
            if !words.contains(&module) {
                continue;
            }
            if statement.contains('*') {
                return Self::Everything;
            }
            names.extend(words.into_iter().map(str::to_owned));
        }
        if names.is_empty() {
            Self::Nothing
        } else {
            Self::Names(names)
        }
    }

    pub(super) fn reaches(&self, ident: &Ident) -> bool {
        match self {
            Self::Everything => true,
            Self::Names(names) => names.iter().any(|name| ident == name),
            Self::Nothing => false,
        }
    }
}

/// Splits `a/src/b/c.rs` at its last `src` into the package and what is inside.
fn split_source(file: &str) -> Option<(&str, &str)> {
    match file.strip_prefix("src/") {
        Some(inside) => Some(("", inside)),
        None => file.split_once("/src/"),
    }
}

/// The modules of `a/b.rs` or `a/b/mod.rs`; none for a binary's `main.rs`.
fn module_path(inside: &str) -> Vec<&str> {
    let path = inside.strip_suffix(".rs").unwrap_or(inside);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "main" {
        Vec::new()
    } else {
        path.split('/').collect()
    }
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(path) {
        // What is no text declares nothing, and nothing is then known of what is below.
        let _ = file.take(MAX_MODULE_BYTES).read_to_string(&mut text);
    }
    text
}

fn declares(text: &str, module: &str) -> bool {
    let declaration = format!("mod {module}");
    text.match_indices(&declaration).any(|(at, found)| {
        let rest = &text[at + found.len()..];
        rest.starts_with(';') || rest.starts_with(" {")
    })
}

fn declares_public(text: &str, module: &str) -> bool {
    text.contains(&format!("pub mod {module};")) || text.contains(&format!("pub mod {module} {{"))
}

/// The `pub use …;` statements of a module itself; indented ones belong to modules inside it, which are
/// mostly hidden helpers of macros.
fn public_uses(text: &str) -> impl Iterator<Item = &str> {
    let at_line_start = |at: usize| at == 0 || text[..at].ends_with('\n');
    text.match_indices("pub use ")
        .filter(move |(at, _)| at_line_start(*at))
        .filter_map(|(at, _)| {
            let statement = &text[at..];
            statement.find(';').map(|end| &statement[..end])
        })
}

fn words(statement: &str) -> impl Iterator<Item = &str> {
    statement
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}
