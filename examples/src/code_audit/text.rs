//! What can be said about any text: merge markers, line ends, line lengths.

use std::path::Path;

use crate::code_audit::analysis::milder_in_tests;
use crate::code_audit::finding::{Finding, Severity};
use crate::code_audit::rules::Rule;

/// Source lines longer than this many characters are reported, once per file.
const MAX_LINE_CHARS: usize = 200;

/// What [`check`] found and counted.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Lines.
    pub(crate) lines: u64,
    /// Lines that are not blank.
    pub(crate) code_lines: u64,
    /// Merge markers, mixed line ends, over-long lines.
    pub(crate) findings: Vec<Finding>,
}

/// Looks at every line of `text`, once.
pub(crate) fn check(text: &str, path: &str) -> Measured {
    let mut measured = Measured::default();
    let mut ends = LineEnds::default();
    let mut conflict = Conflict::default();
    let mut long = LongLines::default();
    let limit_lines = is_source(path);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        ends.see(line, number);
        let line = line.trim_end_matches(['\r', '\n']);
        measured.lines += 1;
        measured.code_lines += u64::from(!line.trim_ascii().is_empty());
        if let Some(start) = conflict.see(line, number) {
            let message = "an unresolved merge conflict starts here";
            let finding = Finding::new(Rule::MergeMarker, path, start, message);
            measured
                .findings
                .push(milder_in_tests(finding, Severity::Low));
        }
        if limit_lines {
            long.see(line, number);
        }
    }
    measured.findings.extend(ends.finding(path));
    measured.findings.extend(long.finding(path));
    measured
}

/// Counts the two kinds of line end.
#[derive(Default)]
struct LineEnds {
    lf: u64,
    crlf: u64,
    first: Option<bool>,
    first_change: usize,
}

impl LineEnds {
    fn see(&mut self, line: &str, number: usize) {
        let Some(rest) = line.strip_suffix('\n') else {
            return;
        };
        let is_crlf = rest.ends_with('\r');
        if is_crlf {
            self.crlf += 1;
        } else {
            self.lf += 1;
        }
        if *self.first.get_or_insert(is_crlf) != is_crlf && self.first_change == 0 {
            self.first_change = number;
        }
    }

    fn finding(&self, path: &str) -> Option<Finding> {
        (self.first_change > 0).then(|| {
            let message = format!("{} lines end in LF, {} in CRLF", self.lf, self.crlf);
            Finding::new(Rule::MixedLineEnds, path, self.first_change, message)
        })
    }
}

/// Follows a conflict from its first marker to its last: one marker alone may be an ASCII drawing.
#[derive(Default)]
struct Conflict {
    start: usize,
    middle: bool,
}

impl Conflict {
    /// Returns the line where a conflict started when `line` ends it.
    fn see(&mut self, line: &str, number: usize) -> Option<usize> {
        if line.starts_with("<<<<<<< ") {
            *self = Self {
                start: number,
                middle: false,
            };
        } else if self.start > 0 && line == "=======" {
            self.middle = true;
        } else if self.middle && line.starts_with(">>>>>>> ") {
            return Some(std::mem::take(self).start);
        }
        None
    }
}

/// Counts lines over the limit.
#[derive(Default)]
struct LongLines {
    count: u64,
    longest: usize,
    longest_at: usize,
}

impl LongLines {
    fn see(&mut self, line: &str, number: usize) {
        // Bytes bound characters from above, and nearly every line is short.
        if line.len() <= MAX_LINE_CHARS || has_long_word(line) {
            return;
        }
        let chars = line.chars().count();
        if chars > MAX_LINE_CHARS {
            self.count += 1;
            if chars > self.longest {
                (self.longest, self.longest_at) = (chars, number);
            }
        }
    }

    fn finding(&self, path: &str) -> Option<Finding> {
        let plural = if self.count == 1 { " is" } else { "s are" };
        (self.count > 0).then(|| {
            let message = format!(
                "{} line{plural} longer than {MAX_LINE_CHARS} characters; the longest, {}, is here",
                self.count, self.longest
            );
            Finding::new(Rule::LongLine, path, self.longest_at, message)
        })
    }
}

/// A URL, a hash or an embedded literal that nobody can break.
fn has_long_word(line: &str) -> bool {
    line.split_ascii_whitespace()
        .any(|word| word.len() > MAX_LINE_CHARS / 2)
}

/// Source that people write line by line: prose is wrapped by editors, data by nobody.
fn is_source(path: &str) -> bool {
    const SOURCE: &[&str] = &[
        "c", "cc", "cpp", "cs", "go", "h", "hpp", "java", "js", "jsx", "kt", "mjs", "php", "pl",
        "py", "rb", "rs", "scala", "sh", "swift", "toml", "ts", "tsx",
    ];
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| SOURCE.contains(&extension)) && !name.contains(".min.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(Rule, u32)> {
        check(text, path)
            .findings
            .iter()
            .map(|f| (f.rule, f.line))
            .collect()
    }

    /// A conflict, built so that this file does not contain one.
    fn conflict() -> String {
        [
            "ok",
            &format!("{} HEAD", "<".repeat(7)),
            "a",
            &"=".repeat(7),
            "b",
        ]
        .into_iter()
        .chain([format!("{} topic", ">".repeat(7)).as_str()])
        .collect::<Vec<_>>()
        .join("\n")
    }

    #[test]
    fn a_whole_conflict_is_reported_at_its_start() {
        assert_eq!(found("a.py", &conflict()), [(Rule::MergeMarker, 2)]);
    }

    #[test]
    fn a_marker_alone_is_no_conflict() {
        assert_eq!(found("a.rst", "Title\n=======\n"), []);
        assert_eq!(found("a.txt", &format!("{} x\n", "<".repeat(7))), []);
        assert_eq!(found("a.txt", &format!("{} x\n", ">".repeat(7))), []);
    }

    #[test]
    fn line_ends_are_mixed_only_if_both_occur() {
        assert_eq!(found("a", "a\r\nb\r\nc"), []);
        assert_eq!(found("a", "a\nb\r\nc\n"), [(Rule::MixedLineEnds, 2)]);
    }

    #[test]
    fn long_lines_of_source_are_one_finding_at_the_longest() {
        let long = |chars: usize| "ab ".repeat(chars / 3);
        let text = format!("{}\nshort\n{}\n", long(240), long(300));
        assert_eq!(found("a.rs", &text), [(Rule::LongLine, 3)]);
        assert_eq!(found("a.md", &text), []);
        assert_eq!(found("a.min.js", &text), []);
        assert_eq!(
            found("a.rs", &format!("// https://x/{}\n", "a".repeat(300))),
            []
        );
        assert_eq!(
            found("a.rs", &"äöü ".repeat(40)),
            [],
            "characters count, not bytes"
        );
    }

    #[test]
    fn lines_are_counted() {
        let measured = check("a\n\n  \nb", "x");
        assert_eq!((measured.lines, measured.code_lines), (4, 2));
    }
}
