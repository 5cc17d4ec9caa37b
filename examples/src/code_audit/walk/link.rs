//! What is wrong with a symbolic link, if anything.

use std::io;
use std::path::Path;

use crate::code_audit::rules::Rule;

/// Judges the link at `path`; a link to another place inside `root` is fine, since that place is
/// audited under its own name.
pub(super) fn problem(root: &Path, path: &Path) -> Option<(Rule, String)> {
    let written = std::fs::read_link(path)
        .map(|target| target.display().to_string())
        .unwrap_or_default();
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some((
                Rule::LinkDangling,
                format!("leads to `{written}`, which does not exist"),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Some((Rule::Unreadable, format!("leads to `{written}`: {error}")));
        }
        // What is left on every platform is a chain of links that never ends.
        Err(error) => return Some((Rule::LinkLoop, format!("leads to `{written}`: {error}"))),
    };
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    if parent.is_some_and(|parent| parent.starts_with(&target)) {
        return Some((
            Rule::LinkLoop,
            format!("leads to `{written}`, a directory that contains it"),
        ));
    }
    (!target.starts_with(root)).then(|| {
        (
            Rule::LinkOutside,
            format!("leads to `{written}`, outside the tree"),
        )
    })
}
