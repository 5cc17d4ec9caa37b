//! Credentials in any bytes: known token formats, private keys, random-looking passwords.

mod assignment;
mod token;

use crate::code_audit::analysis::milder_in_tests;
use crate::code_audit::finding::{Finding, Severity};
use crate::code_audit::rules::Rule;
use crate::code_audit::source::line_at;

/// Searches `bytes`. A finding names the kind of secret and its length, never a part of it that
/// would help anybody.
pub(crate) fn scan(bytes: &[u8], path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for hit in token::hits(bytes) {
        let line = line_at(bytes, hit.offset);
        let (rule, cap) = match hit.is_key {
            true => (Rule::SecretKey, Severity::Medium),
            false => (Rule::SecretToken, Severity::Medium),
        };
        findings.push(milder_in_tests(
            Finding::new(rule, path, line, hit.message),
            cap,
        ));
    }
    // What has the format of a known token is not said twice.
    let known: Vec<u32> = findings.iter().map(|finding| finding.line).collect();
    for hit in assignment::hits(bytes, path) {
        let finding = Finding::new(
            Rule::SecretPassword,
            path,
            line_at(bytes, hit.offset),
            hit.message,
        );
        if !known.contains(&finding.line) {
            findings.push(milder_in_tests(finding, Severity::Low));
        }
    }
    findings
}

/// A place in the bytes and what to say about it.
struct Hit {
    offset: usize,
    is_key: bool,
    message: String,
}

#[cfg(test)]
mod tests;
