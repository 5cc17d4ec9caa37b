//! TOML: whether it parses, and what is wrong with the dependencies of a manifest.

mod dependency;

use toml::de::{DeTable, DeValue};

use crate::code_audit::analysis::milder_in_tests;
use crate::code_audit::finding::{Finding, Severity};
use crate::code_audit::rules::Rule;
use crate::code_audit::source::line_at;

use dependency::{Dependency, Section};

/// Checks the TOML `text`; only a `Cargo.toml` is searched for dependencies.
pub(crate) fn check(text: &str, path: &str) -> Vec<Finding> {
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error
                .span()
                .map_or(0, |span| line_at(text.as_bytes(), span.start));
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            let finding = Finding::new(Rule::InvalidToml, path, line, message);
            return vec![milder_in_tests(finding, Severity::Info)];
        }
    };
    if path.rsplit('/').next() != Some("Cargo.toml") {
        return Vec::new();
    }
    let manifest = Manifest {
        text,
        path,
        root: document.get_ref(),
    };
    let dependencies = manifest.dependencies();
    let mut findings: Vec<_> = dependencies
        .iter()
        .flat_map(|dependency| manifest.judge(dependency))
        .collect();
    findings.extend(manifest.duplicates(&dependencies));
    findings.sort_by_key(|finding| finding.line);
    findings
}

struct Manifest<'a> {
    text: &'a str,
    path: &'a str,
    root: &'a DeTable<'a>,
}

impl<'a> Manifest<'a> {
    fn dependencies(&self) -> Vec<Dependency<'a>> {
        let mut dependencies = Vec::new();
        self.sections(self.root, "", &mut dependencies);
        if let Some(workspace) = table(self.root, "workspace") {
            self.section(
                workspace,
                "dependencies",
                Section::Workspace,
                "",
                &mut dependencies,
            );
        }
        if let Some(targets) = table(self.root, "target") {
            for (target, value) in targets {
                if let Some(value) = value.get_ref().as_table() {
                    self.sections(value, target.get_ref(), &mut dependencies);
                }
            }
        }
        dependencies
    }

    fn sections(&self, parent: &'a DeTable<'a>, target: &'a str, into: &mut Vec<Dependency<'a>>) {
        for section in [Section::Normal, Section::Build, Section::Dev] {
            self.section(parent, section.key(), section, target, into);
        }
    }

    fn section(
        &self,
        parent: &'a DeTable<'a>,
        key: &str,
        section: Section,
        target: &'a str,
        into: &mut Vec<Dependency<'a>>,
    ) {
        let Some(entries) = table(parent, key) else {
            return;
        };
        for (name, value) in entries {
            let line = line_at(self.text.as_bytes(), name.span().start);
            into.push(Dependency::new(
                name.get_ref(),
                value.get_ref(),
                section,
                target,
                line,
            ));
        }
    }

    fn judge(&self, dependency: &Dependency<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |rule, message: String| {
            findings.push(Finding::new(rule, self.path, dependency.line, message));
        };
        let name = dependency.name;
        match dependency.version {
            Some(version) if version.trim() == "*" => {
                find(
                    Rule::WildcardVersion,
                    format!("`{name}` accepts any version"),
                );
            }
            Some(_) => return findings,
            None => {}
        }
        if dependency.has("git") {
            let is_pinned = dependency.has("rev") || dependency.has("tag");
            let how = if is_pinned {
                "pinned"
            } else {
                "at whatever its branch holds"
            };
            find(
                Rule::GitDependency,
                format!("`{name}` comes from git, {how}"),
            );
        } else if dependency.has("path")
            && self.is_publishable()
            && dependency.section.is_published()
        {
            find(
                Rule::PathDependency,
                format!("`{name}` has a path but no version"),
            );
        }
        findings
    }

    fn duplicates(&self, dependencies: &[Dependency<'_>]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, later) in dependencies.iter().enumerate() {
            let earlier = &dependencies[..index];
            if let Some(earlier) = earlier
                .iter()
                .find(|earlier| earlier.makes_redundant(later))
            {
                let message = format!(
                    "`{}` in [{}] repeats [{}] on line {}",
                    later.name,
                    later.section_name(),
                    earlier.section_name(),
                    earlier.line
                );
                findings.push(Finding::new(
                    Rule::DuplicateDependency,
                    self.path,
                    later.line,
                    message,
                ));
            }
        }
        findings
    }

    /// Whether the package may be published; a workspace without a package cannot.
    fn is_publishable(&self) -> bool {
        let Some(package) = table(self.root, "package") else {
            return false;
        };
        match package.get("publish").map(|value| value.get_ref()) {
            Some(DeValue::Boolean(publish)) => *publish,
            Some(DeValue::Array(registries)) => !registries.is_empty(),
            // `publish.workspace = true`: somewhere else.
            Some(_) => false,
            None => true,
        }
    }
}

fn table<'a>(parent: &'a DeTable<'a>, key: &str) -> Option<&'a DeTable<'a>> {
    parent.get(key)?.get_ref().as_table()
}

#[cfg(test)]
mod tests;
