//! The table of rules: every id, its severity and its one-line explanation, in this place only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code_audit::finding::Severity;

macro_rules! rules {
    ($($variant:ident, $id:literal, $severity:ident, $explanation:literal;)+) => {
        /// A rule of the audit, named in reports by its kebab-case id.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub(crate) enum Rule {
            $(#[doc = $explanation] #[serde(rename = $id)] $variant,)+
        }

        impl Rule {
            /// Every rule, in the order of the table.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The id in reports.
            pub(crate) const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The severity where nothing about the place lowers it.
            pub(crate) const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// What the rule means, in one line.
            pub(crate) const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation,)+ }
            }
        }
    };
}

rules! {
    SecretKey, "secret-key", Critical, "A private key block stands in the tree (medium in test data).";
    SecretToken, "secret-token", Critical, "A token in the format of a known service stands in the tree (medium in test data).";
    SecretPassword, "secret-password", High, "A literal that looks random is assigned to a name such as `password` or `api_key` (low in test data).";
    MergeMarker, "merge-marker", High, "An unresolved merge conflict.";
    RustSyntax, "rust-syntax", High, "The file does not parse as today's Rust (info in test data, where it may be meant).";
    RustTooDeep, "rust-too-deep", Low, "Code nested too deeply to be analysed safely.";
    InvalidToml, "invalid-toml", High, "The file does not parse as TOML (info in test data).";
    WildcardVersion, "wildcard-version", Medium, "A dependency accepts any version, so a build can break from outside.";
    DuplicateDependency, "duplicate-dependency", Low, "One crate is declared twice where once says the same.";
    GitDependency, "git-dependency", Info, "A dependency comes from a git repository and cannot be published.";
    PathDependency, "path-dependency", Info, "A path dependency without a version keeps a publishable package from being published.";
    DeadLink, "dead-link", Medium, "A relative link or image leads to no file in the tree.";
    DeadAnchor, "dead-anchor", Low, "A link leads to a heading that its target does not have.";
    TodoMacro, "todo-macro", Medium, "`todo!` or `unimplemented!` outside tests panics when reached.";
    UnsafeUndocumented, "unsafe-undocumented", Medium, "An `unsafe` block or impl without a `SAFETY` comment next to it.";
    Unsafe, "unsafe", Info, "An `unsafe` block or impl that states why it is sound: worth a second pair of eyes.";
    Panic, "panic", Low, "`panic!` outside tests ends the task or the process when reached.";
    Unwrap, "unwrap", Low, "`unwrap()` outside tests: a failure loses its context and panics.";
    Expect, "expect", Info, "`expect()` outside tests: the stated invariant should be true.";
    MissingDocs, "missing-docs", Low, "A public item of a library without documentation.";
    LongFunction, "long-function", Low, "A function of more than 100 lines of code.";
    ComplexFunction, "complex-function", Medium, "A function with more than 25 decisions (a `match` counts once, its guards and the operators `&&` and `||` count each).";
    MixedLineEnds, "mixed-line-ends", Low, "Lines end in LF here and in CRLF there.";
    LongLine, "long-line", Info, "Source lines of more than 200 characters.";
    InvalidUtf8, "invalid-utf8", Low, "A text file with bytes that are not UTF-8.";
    TrailingNul, "trailing-nul", Low, "A text file that ends in NUL bytes, as after a crash while writing.";
    LinkLoop, "link-loop", Medium, "A symbolic link that leads back to itself or to a directory that contains it.";
    LinkDangling, "link-dangling", Low, "A symbolic link to nothing.";
    LinkOutside, "link-outside", Info, "A symbolic link that leaves the tree; it is not followed.";
    Unreadable, "unreadable", Medium, "A file, a directory or a pattern of a `.gitignore` that cannot be read.";
    LargeFile, "large-file", Low, "A file over the size limit: only its beginning is searched for secrets.";
    BinaryFile, "binary-file", Info, "A binary file: counted, not analysed.";
    SpecialFile, "special-file", Info, "A socket, pipe or device: never opened.";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_kebab_case_and_equal_to_their_json() {
        let ids: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert!(
                rule.id()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-' || c == '8')
            );
            assert_eq!(
                serde_json::to_string(rule).unwrap(),
                format!("\"{}\"", rule.id())
            );
        }
    }

    #[test]
    fn every_explanation_is_one_sentence() {
        for rule in Rule::ALL {
            let text = rule.explanation();
            assert!(text.ends_with('.') && !text.contains('\n'), "{text}");
        }
    }
}
