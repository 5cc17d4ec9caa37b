//! One entry of a dependency section.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

/// The kinds of dependency section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Normal,
    Dev,
    Build,
    Workspace,
}

impl Section {
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Normal => "dependencies",
            Self::Dev => "dev-dependencies",
            Self::Build => "build-dependencies",
            Self::Workspace => "workspace.dependencies",
        }
    }

    /// Whether users of the package need it: Cargo strips development dependencies by path.
    pub(super) const fn is_published(self) -> bool {
        matches!(self, Self::Normal | Self::Build)
    }
}

/// An entry `name = …`, as far as the rules look at it.
#[derive(Debug)]
pub(super) struct Dependency<'a> {
    pub(super) name: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) section: Section,
    /// The `cfg(…)` or triple it is limited to; empty for all.
    pub(super) target: &'a str,
    pub(super) line: usize,
    details: Option<&'a DeTable<'a>>,
}

impl<'a> Dependency<'a> {
    pub(super) fn new(
        name: &'a str,
        value: &'a DeValue<'a>,
        section: Section,
        target: &'a str,
        line: usize,
    ) -> Self {
        let details = value.as_table();
        let version = match details {
            Some(details) => details
                .get("version")
                .and_then(|version| version.get_ref().as_str()),
            None => value.as_str(),
        };
        Self {
            name,
            version,
            section,
            target,
            line,
            details,
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.detail(key).is_some()
    }

    /// `dependencies`, or with its target.
    pub(super) fn section_name(&self) -> String {
        match self.target {
            "" => self.section.key().to_owned(),
            target => format!("target.'{target}'.{}", self.section.key()),
        }
    }

    /// Whether this entry already gives everything that `later` asks for.
    ///
    /// Development dependencies see the normal ones, and a target's see those for all targets; build
    /// scripts are compiled apart. What asks for another version or more features is no repetition.
    pub(super) fn makes_redundant(&self, later: &Self) -> bool {
        let is_visible = match (self.section, later.section) {
            (Section::Workspace, Section::Workspace) => true,
            (Section::Normal, Section::Normal | Section::Dev)
            | (Section::Dev, Section::Dev)
            | (Section::Build, Section::Build) => {
                self.target.is_empty() || self.target == later.target
            }
            _ => false,
        };
        is_visible
            && self.package() == later.package()
            && self.version == later.version
            && [
                "git",
                "path",
                "rev",
                "branch",
                "tag",
                "registry",
                "workspace",
            ]
            .iter()
            .all(|key| self.text(key) == later.text(key))
            && !self.is_on("optional")
            && (later.features().is_subset(&self.features()))
            && (self.is_on_by_default("default-features")
                || !later.is_on_by_default("default-features"))
    }

    /// The package's own name, where the entry renames it.
    fn package(&self) -> &str {
        self.detail("package")
            .and_then(DeValue::as_str)
            .unwrap_or(self.name)
    }

    fn features(&self) -> BTreeSet<&str> {
        let features = self.detail("features").and_then(DeValue::as_array);
        features
            .into_iter()
            .flatten()
            .filter_map(|feature| feature.get_ref().as_str())
            .collect()
    }

    fn is_on(&self, key: &str) -> bool {
        self.detail(key).and_then(DeValue::as_bool) == Some(true)
    }

    fn is_on_by_default(&self, key: &str) -> bool {
        self.detail(key).and_then(DeValue::as_bool) != Some(false)
    }

    /// A detail as it would be written: `workspace` is a truth value, all others are strings.
    fn text(&self, key: &str) -> Option<&'a str> {
        match self.detail(key)? {
            DeValue::String(text) => Some(text),
            DeValue::Boolean(true) => Some("true"),
            _ => None,
        }
    }

    fn detail(&self, key: &str) -> Option<&'a DeValue<'a>> {
        Some(self.details?.get(key)?.get_ref())
    }
}
