//! Where a link leads.

use std::path::{Component, Path, PathBuf};

/// A relative link, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The path without query and fragment; empty for a link inside the document.
    pub(super) path: String,
    /// What follows `#`.
    pub(super) anchor: Option<String>,
}

/// What a target is on this disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    /// The document itself.
    Here,
    /// Another Markdown document.
    Document(PathBuf),
    /// Some other file or a directory.
    Other,
    /// Nothing.
    Missing,
    /// A place outside the tree, or that only a site knows.
    Outside,
}

impl Target {
    /// Takes a relative link apart; `None` for links with a scheme, a host or from a site's root.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let is_template = url.contains(['{', '}', '<', '>', '$']) || url.contains("::");
        if url.is_empty() || url.starts_with('/') || is_template || has_scheme(url) {
            return None;
        }
        let (rest, anchor) = match url.split_once('#') {
            Some((rest, anchor)) => (rest, Some(percent_decoded(anchor))),
            None => (url, None),
        };
        let path = rest.split('?').next().unwrap_or_default();
        Some(Self {
            path: percent_decoded(path),
            anchor,
        })
    }

    /// Says whether it lies in the document itself.
    pub(super) fn is_here(&self) -> bool {
        self.path.is_empty()
    }

    /// Looks the target up, relative to the directory of `document`.
    pub(super) fn resolve(&self, document: &str, root: &Path) -> Resolved {
        if self.is_here() {
            return Resolved::Here;
        }
        let directory = Path::new(document).parent().unwrap_or(Path::new(""));
        let Some(relative) = normalized(&directory.join(&self.path)) else {
            return Resolved::Outside;
        };
        let path = root.join(&relative);
        let Some(found) = candidates(&path)
            .into_iter()
            .find(|candidate| candidate.exists())
        else {
            return Resolved::Missing;
        };
        let is_document =
            found.extension().is_some_and(|extension| extension == "md") && found.is_file();
        // A link may leave the tree; what is there is not read.
        let is_inside = found
            .canonicalize()
            .is_ok_and(|real| root.canonicalize().is_ok_and(|root| real.starts_with(root)));
        match is_document && is_inside {
            true => Resolved::Document(found),
            false => Resolved::Other,
        }
    }
}

/// The path itself, or the source that a site generator makes it from.
fn candidates(path: &Path) -> [PathBuf; 3] {
    let with_md = {
        let mut name = path.as_os_str().to_owned();
        name.push(".md");
        PathBuf::from(name)
    };
    let from_html = match path.extension() {
        Some(extension) if extension == "html" => path.with_extension("md"),
        _ => path.to_path_buf(),
    };
    [path.to_path_buf(), with_md, from_html]
}

/// Resolves `.` and `..` by name; `None` if the path leaves the root.
fn normalized(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => normal.push(part),
            Component::ParentDir if !normal.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir => return None,
        }
    }
    Some(normal)
}

fn has_scheme(url: &str) -> bool {
    let Some((scheme, _)) = url.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
