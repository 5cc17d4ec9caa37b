//! From files to packages, from packages to the report.

use crate::code_audit::finding::keep_most_important;
use crate::code_audit::model::{
    AuditReport, Function, MAX_FINDINGS_LISTED, MAX_FINDINGS_PER_PACKAGE, PackageSummary,
    PackageTask, TOP, Tally, Volume, WorstFile,
};

/// Summarises one package: the body of a summary agent.
pub(crate) fn summarise(task: PackageTask) -> PackageSummary {
    let mut summary = PackageSummary {
        package: task.package,
        volume: Volume::default(),
        tally: Tally::default(),
        worst_files: Vec::new(),
        functions: Vec::new(),
        findings: Vec::new(),
    };
    for mut file in task.files {
        summary.volume.add_file(&file);
        let tally = file.tally();
        summary.tally.add(&tally);
        summary.functions.append(&mut file.functions);
        Function::keep_most_complex(&mut summary.functions);
        summary.findings.append(&mut file.findings);
        if summary.findings.len() > 2 * MAX_FINDINGS_PER_PACKAGE {
            keep_most_important(&mut summary.findings, MAX_FINDINGS_PER_PACKAGE);
        }
        if tally.severities.total() > 0 {
            let severities = tally.severities;
            summary.worst_files.push(WorstFile {
                path: file.path,
                severities,
            });
        }
    }
    keep_most_important(&mut summary.findings, MAX_FINDINGS_PER_PACKAGE);
    summary.worst_files.sort_unstable_by(|a, b| {
        a.severities
            .worst_first(&b.severities)
            .then_with(|| a.path.cmp(&b.path))
    });
    summary.worst_files.truncate(TOP);
    summary
}

impl AuditReport {
    /// Starts the report of the tree at `root`.
    pub(crate) fn new(root: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            volume: Volume::default(),
            tally: Tally::default(),
            packages: Vec::new(),
            functions: Vec::new(),
            findings: Vec::new(),
            omitted: 0,
        }
    }

    /// Takes in the summary of a package, in any order; its findings move into the report's own list.
    pub(crate) fn add(&mut self, mut package: PackageSummary) {
        self.volume.add(&package.volume);
        self.tally.add(&package.tally);
        self.functions.extend(package.functions.iter().cloned());
        Function::keep_most_complex(&mut self.functions);
        self.findings.append(&mut package.findings);
        // Sorting only now and then keeps the cost of many packages linear.
        if self.findings.len() > 2 * MAX_FINDINGS_LISTED {
            keep_most_important(&mut self.findings, MAX_FINDINGS_LISTED);
        }
        self.packages.push(package);
    }

    /// Puts everything in its final order: the same tree gives the same report.
    pub(crate) fn finish(mut self) -> Self {
        keep_most_important(&mut self.findings, MAX_FINDINGS_LISTED);
        self.omitted = self.tally.severities.total() - self.findings.len() as u64;
        self.packages.sort_unstable_by(|a, b| {
            let worst = a.tally.severities.worst_first(&b.tally.severities);
            worst.then_with(|| a.package.cmp(&b.package))
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::code_audit::finding::Finding;
    use crate::code_audit::language::Language;
    use crate::code_audit::material::Material;
    use crate::code_audit::model::{FileReport, FileTask};
    use crate::code_audit::rules::Rule;

    fn file(package: &str, path: &str, rules: &[Rule]) -> FileReport {
        let mut report = FileReport::new(&FileTask {
            path: path.to_owned(),
            package: package.to_owned(),
            language: Language::Rust,
            size: 10,
            material: Material::Here(PathBuf::new()),
        });
        report.lines = 3;
        report.add(
            rules
                .iter()
                .map(|rule| Finding::new(*rule, path, 1, "x"))
                .collect(),
        );
        report
    }

    fn package(name: &str, files: Vec<FileReport>) -> PackageSummary {
        summarise(PackageTask {
            package: name.to_owned(),
            files,
        })
    }

    #[test]
    fn a_summary_counts_everything_and_names_the_worst() {
        let files = vec![
            file("p", "clean.rs", &[]),
            file("p", "a.rs", &[Rule::Unwrap, Rule::Unwrap]),
            file("p", "b.rs", &[Rule::MergeMarker]),
        ];
        let summary = package("p", files);
        assert_eq!(
            (
                summary.volume.files,
                summary.volume.lines,
                summary.volume.bytes
            ),
            (3, 9, 30)
        );
        assert_eq!(summary.tally.rules[&Rule::Unwrap], 2);
        let worst: Vec<_> = summary
            .worst_files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(worst, ["b.rs", "a.rs"]);
        assert_eq!(summary.findings[0].rule, Rule::MergeMarker);
    }

    #[test]
    fn the_report_is_the_same_in_any_order_of_arrival() {
        let packages = [
            package("a", vec![file("a", "a.rs", &[Rule::Unwrap])]),
            package("b", vec![file("b", "b.rs", &[Rule::SecretKey])]),
            package("c", vec![file("c", "c.rs", &[])]),
        ];
        let report = |order: [usize; 3]| {
            let mut report = AuditReport::new("r");
            order
                .iter()
                .for_each(|index| report.add(packages[*index].clone()));
            report.finish()
        };
        assert_eq!(report([0, 1, 2]), report([2, 1, 0]));
        let names: Vec<_> = report([1, 2, 0])
            .packages
            .into_iter()
            .map(|p| p.package)
            .collect();
        assert_eq!(names, ["b", "a", "c"]);
    }

    #[test]
    fn lists_are_capped_and_what_is_left_out_is_counted() {
        let mut report = AuditReport::new("r");
        for index in 0..300 {
            let path = format!("p{index}/a.rs");
            report.add(package(&path, vec![file(&path, &path, &[Rule::Unwrap; 9])]));
        }
        report.add(package("z", vec![file("z", "z.rs", &[Rule::MergeMarker])]));
        let report = report.finish();
        assert_eq!(report.findings.len(), MAX_FINDINGS_LISTED);
        assert_eq!(report.findings[0].path, "z.rs");
        assert_eq!(report.omitted, 300 * 9 + 1 - MAX_FINDINGS_LISTED as u64);
    }
}
