//! What an analysis can say: a finding, and how much it matters.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::code_audit::rules::Rule;

/// How much a finding matters, from a remark to what must not be published.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// Worth knowing, nothing to do.
    Info,
    /// Polish: documentation, style, small redundancies.
    Low,
    /// Will cost somebody time sooner or later.
    Medium,
    /// Broken now.
    High,
    /// Must not leave the house, such as a live credential.
    Critical,
}

impl Severity {
    /// All severities, the most severe first: the order of every table.
    pub(crate) const DESCENDING: [Self; 5] = [
        Self::Critical,
        Self::High,
        Self::Medium,
        Self::Low,
        Self::Info,
    ];

    /// The name as it is written in reports, on the command line and in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that a reviewer should look at, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The rule that fired.
    pub(crate) rule: Rule,
    /// The rule's severity, unless the place lowers it (test data, for example).
    pub(crate) severity: Severity,
    /// The file, relative to the root of the audit, with `/` between its parts.
    pub(crate) path: String,
    /// The line from 1, or 0 when the finding is about the whole file.
    pub(crate) line: u32,
    /// One sentence that stands on its own; never contains a secret.
    pub(crate) message: String,
}

impl Finding {
    /// Makes a finding with the severity of its rule.
    pub(crate) fn new(rule: Rule, path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity(),
            path: path.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            message: message.into(),
        }
    }

    /// Lowers the severity to at most `cap`.
    pub(crate) fn at_most(mut self, cap: Severity) -> Self {
        self.severity = self.severity.min(cap);
        self
    }

    /// `path`, or `path:line` where there is a line.
    pub(crate) fn place(&self) -> String {
        match self.line {
            0 => self.path.clone(),
            line => format!("{}:{line}", self.path),
        }
    }

    /// Orders findings for people: the most severe first, then by place.
    pub(crate) fn by_importance(a: &Self, b: &Self) -> std::cmp::Ordering {
        b.severity
            .cmp(&a.severity)
            .then_with(|| a.path.cmp(&b.path))
            .then_with(|| a.line.cmp(&b.line))
            .then_with(|| a.rule.cmp(&b.rule))
            .then_with(|| a.message.cmp(&b.message))
    }
}

/// Findings of one rule that a file is given before the rest becomes one.
pub(crate) const MAX_PER_RULE: usize = 10;

/// Replaces what goes beyond [`MAX_PER_RULE`] findings of one rule by one finding that counts them: generated
/// bindings would otherwise drown everything else. All must be of one file.
pub(crate) fn fold(findings: Vec<Finding>) -> Vec<Finding> {
    let mut by_rule: BTreeMap<Rule, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        by_rule.entry(finding.rule).or_default().push(finding);
    }
    for findings in by_rule
        .values_mut()
        .filter(|findings| findings.len() > MAX_PER_RULE)
    {
        findings.sort_by_key(|finding| finding.line);
        let rest = findings.split_off(MAX_PER_RULE - 1);
        // More than the limit less one are left: never none.
        let Some(first) = rest.first() else { continue };
        let message = format!(
            "{}, and {} more further down",
            first.message,
            rest.len() - 1
        );
        findings.push(Finding {
            message,
            ..first.clone()
        });
    }
    by_rule.into_values().flatten().collect()
}

/// Sorts `findings` by importance and keeps the first `limit`; returns how many were dropped.
pub(crate) fn keep_most_important(findings: &mut Vec<Finding>, limit: usize) -> u64 {
    findings.sort_unstable_by(Finding::by_importance);
    let dropped = findings.len().saturating_sub(limit);
    findings.truncate(limit);
    dropped as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_grow_and_are_named_as_on_the_command_line() {
        assert!(Severity::DESCENDING.is_sorted_by(|a, b| a > b));
        for severity in Severity::DESCENDING {
            let parsed = Severity::from_str(&severity.to_string(), false);
            assert_eq!(parsed, Ok(severity));
            assert_eq!(
                serde_json::to_string(&severity).unwrap(),
                format!("\"{severity}\"")
            );
        }
    }

    #[test]
    fn the_most_important_are_kept_in_a_stable_order() {
        let mut findings = vec![
            Finding::new(Rule::MissingDocs, "b.rs", 1, "x"),
            Finding::new(Rule::MissingDocs, "a.rs", 9, "x"),
            Finding::new(Rule::MergeMarker, "z.rs", 1, "x"),
            Finding::new(Rule::MissingDocs, "a.rs", 2, "x"),
        ];
        assert_eq!(keep_most_important(&mut findings, 3), 1);
        let places: Vec<_> = findings.iter().map(Finding::place).collect();
        assert_eq!(places, ["z.rs:1", "a.rs:2", "a.rs:9"]);
    }

    #[test]
    fn many_of_one_rule_become_one_that_counts_them() {
        let unwrap = |line| Finding::new(Rule::Unwrap, "a.rs", line, "x");
        let few: Vec<_> = (1..=MAX_PER_RULE).map(unwrap).collect();
        assert_eq!(fold(few.clone()), few);
        let mut many: Vec<_> = (1..=500).rev().map(unwrap).collect();
        many.push(Finding::new(Rule::Panic, "a.rs", 3, "y"));
        let folded = fold(many);
        assert_eq!(folded.len(), MAX_PER_RULE + 1);
        let last = folded
            .iter()
            .rfind(|finding| finding.rule == Rule::Unwrap)
            .unwrap();
        assert_eq!(
            (last.line, last.message.as_str()),
            (10, "x, and 490 more further down")
        );
    }

    #[test]
    fn a_place_can_lower_a_severity_but_never_raise_it() {
        let broken = Finding::new(Rule::RustSyntax, "tests/ui/a.rs", 1, "x");
        assert_eq!(
            broken.clone().at_most(Severity::Low).severity,
            Severity::Low
        );
        assert_eq!(broken.at_most(Severity::Critical).severity, Severity::High);
    }
}
