//! What the agents of the audit give each other: plain serde types, each bounded in size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::code_audit::finding::{Finding, Severity, fold};
use crate::code_audit::language::Language;
use crate::code_audit::material::Material;
use crate::code_audit::rules::Rule;
use crate::code_audit::work::Work;

/// Files over this many bytes are not analysed, only their beginning is searched for secrets.
pub(crate) const MAX_ANALYSED_BYTES: u64 = 8 << 20;
/// How much of a file that is too large is searched for secrets.
pub(crate) const LARGE_FILE_HEAD_BYTES: u64 = 1 << 20;
/// Findings that the summary of a package carries.
pub(crate) const MAX_FINDINGS_PER_PACKAGE: usize = 1_000;
/// Findings that the report lists.
pub(crate) const MAX_FINDINGS_LISTED: usize = 2_000;
/// Functions, files and the like in every list of the worst.
pub(crate) const TOP: usize = 10;

/// The work of one analysis agent: a file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileTask {
    /// The file, relative to the root of the audit, with `/` between its parts.
    pub(crate) path: String,
    /// The package the file belongs to.
    pub(crate) package: String,
    /// Which analysis it needs.
    pub(crate) language: Language,
    /// Its size in bytes when the tree was walked.
    pub(crate) size: u64,
    /// What there is to analyse.
    pub(crate) material: Material,
}

/// What an analysis agent says about one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileReport {
    /// The file, relative to the root of the audit.
    pub(crate) path: String,
    /// The package the file belongs to.
    pub(crate) package: String,
    /// How it was analysed; `Opaque` if its content turned out to be no text.
    pub(crate) language: Language,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its lines.
    pub(crate) lines: u64,
    /// Its lines that are neither blank nor (in Rust) only a comment.
    pub(crate) code_lines: u64,
    /// Its findings, folded to a few of every rule.
    pub(crate) findings: Vec<Finding>,
    /// Its most complex functions, at most [`TOP`].
    pub(crate) functions: Vec<Function>,
    /// Who analysed it.
    pub(crate) work: Option<Work>,
}

impl FileReport {
    /// Starts an empty report for `task`.
    pub(crate) fn new(task: &FileTask) -> Self {
        Self {
            path: task.path.clone(),
            package: task.package.clone(),
            language: task.language,
            size: task.size,
            lines: 0,
            code_lines: 0,
            findings: Vec::new(),
            functions: Vec::new(),
            work: None,
        }
    }

    /// Adds the findings of one analysis, folded, and keeps all in the order of importance.
    pub(crate) fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(fold(findings));
        self.findings.sort_unstable_by(Finding::by_importance);
    }

    /// Counts the findings.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.findings
            .iter()
            .for_each(|finding| tally.count(finding));
        tally
    }
}

/// A function and its measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    /// Its name, with its type where it is a method.
    pub(crate) name: String,
    /// The file it stands in.
    pub(crate) path: String,
    /// The line it starts on.
    pub(crate) line: u32,
    /// Its lines of code.
    pub(crate) lines: u32,
    /// Its cyclomatic complexity, a `match` counted once.
    pub(crate) complexity: u32,
}

impl Function {
    /// Sorts by complexity, the highest first, and keeps the first [`TOP`].
    pub(crate) fn keep_most_complex(functions: &mut Vec<Self>) {
        functions.sort_unstable_by(|a, b| {
            (b.complexity, b.lines)
                .cmp(&(a.complexity, a.lines))
                .then_with(|| (&a.path, a.line).cmp(&(&b.path, b.line)))
        });
        functions.truncate(TOP);
    }
}

/// The work of a summary agent: all reports of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageTask {
    /// The package.
    pub(crate) package: String,
    /// The reports about its files.
    pub(crate) files: Vec<FileReport>,
}

/// What a summary agent says about one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageSummary {
    /// The package.
    pub(crate) package: String,
    /// Sizes, and how many files of which language.
    pub(crate) volume: Volume,
    /// Every finding counted.
    pub(crate) tally: Tally,
    /// The files with the most severe findings, at most [`TOP`].
    pub(crate) worst_files: Vec<WorstFile>,
    /// The most complex functions, at most [`TOP`].
    pub(crate) functions: Vec<Function>,
    /// The most important findings, at most [`MAX_FINDINGS_PER_PACKAGE`].
    pub(crate) findings: Vec<Finding>,
}

/// The result of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditReport {
    /// The root as it was given.
    pub(crate) root: String,
    /// Sizes of the whole tree.
    pub(crate) volume: Volume,
    /// Every finding of the tree counted.
    pub(crate) tally: Tally,
    /// The packages, those with the most severe findings first.
    pub(crate) packages: Vec<PackageSummary>,
    /// The most complex functions of the tree, at most [`TOP`].
    pub(crate) functions: Vec<Function>,
    /// The most important findings, at most [`MAX_FINDINGS_LISTED`].
    pub(crate) findings: Vec<Finding>,
    /// Findings that are counted in `tally` but not listed in `findings`.
    pub(crate) omitted: u64,
}

/// A file and how bad it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorstFile {
    /// The file, relative to the root of the audit.
    pub(crate) path: String,
    /// Its findings counted.
    pub(crate) severities: SeverityCounts,
}

/// How much was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Files.
    pub(crate) files: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Lines.
    pub(crate) lines: u64,
    /// Lines of code.
    pub(crate) code_lines: u64,
    /// Files by language.
    pub(crate) languages: BTreeMap<Language, u64>,
}

impl Volume {
    /// Adds one file.
    pub(crate) fn add_file(&mut self, file: &FileReport) {
        self.files += 1;
        self.bytes += file.size;
        self.lines += file.lines;
        self.code_lines += file.code_lines;
        *self.languages.entry(file.language).or_default() += 1;
    }

    /// Adds another volume.
    pub(crate) fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.lines += other.lines;
        self.code_lines += other.code_lines;
        for (&language, files) in &other.languages {
            *self.languages.entry(language).or_default() += files;
        }
    }
}

/// Findings counted by severity and by rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// By severity.
    pub(crate) severities: SeverityCounts,
    /// By rule; rules that never fired are absent.
    pub(crate) rules: BTreeMap<Rule, u64>,
}

impl Tally {
    /// Counts one finding.
    pub(crate) fn count(&mut self, finding: &Finding) {
        *self.severities.0.entry(finding.severity).or_default() += 1;
        *self.rules.entry(finding.rule).or_default() += 1;
    }

    /// Adds another tally.
    pub(crate) fn add(&mut self, other: &Self) {
        for (&severity, count) in &other.severities.0 {
            *self.severities.0.entry(severity).or_default() += count;
        }
        for (&rule, count) in &other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
    }
}

/// Findings counted by severity; ordered by what is worse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SeverityCounts(pub(crate) BTreeMap<Severity, u64>);

impl SeverityCounts {
    /// How many of `severity`.
    pub(crate) fn of(&self, severity: Severity) -> u64 {
        self.0.get(&severity).copied().unwrap_or(0)
    }

    /// How many in all.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The highest severity that occurs.
    pub(crate) fn worst(&self) -> Option<Severity> {
        self.0.keys().next_back().copied()
    }

    /// Compares lexicographically from critical down: one critical outweighs any number of lows.
    pub(crate) fn worst_first(&self, other: &Self) -> std::cmp::Ordering {
        let key = |counts: &Self| Severity::DESCENDING.map(|severity| counts.of(severity));
        key(other).cmp(&key(self))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::code_audit::finding::MAX_PER_RULE;

    #[test]
    fn one_critical_outweighs_many_lows() {
        let counts = |severity, count| SeverityCounts(BTreeMap::from([(severity, count)]));
        let mut all = [counts(Severity::Low, 900), counts(Severity::Critical, 1)];
        all.sort_by(SeverityCounts::worst_first);
        assert_eq!(all[0].worst(), Some(Severity::Critical));
    }

    #[test]
    fn a_file_carries_a_bounded_list() {
        let task = FileTask {
            path: "a.rs".into(),
            package: "a".into(),
            language: Language::Rust,
            size: 1,
            material: Material::Here(PathBuf::new()),
        };
        let mut report = FileReport::new(&task);
        report.add(
            (1..=5_000)
                .map(|line| Finding::new(Rule::Unwrap, "a.rs", line, "x"))
                .collect(),
        );
        report.add(vec![Finding::new(Rule::MergeMarker, "a.rs", 9, "x")]);
        assert_eq!(report.findings.len(), MAX_PER_RULE + 1);
        assert_eq!(report.findings[0].rule, Rule::MergeMarker);
        assert_eq!(report.tally().rules[&Rule::Unwrap], MAX_PER_RULE as u64);

        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<FileReport>(&json).unwrap(), report);
    }
}
