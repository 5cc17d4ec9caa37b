//! Which analysis a file needs, judged by its name alone.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The kinds of file that are analysed differently; each is a capability of some agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Language {
    /// Rust source, parsed with `syn`.
    Rust,
    /// `CommonMark`, whose links are followed.
    Markdown,
    /// TOML; in manifests the dependencies are looked at.
    Toml,
    /// Anything else that may be text.
    Text,
    /// No text: binary files by their name or content, and links, pipes or errors met on the walk.
    Opaque,
}

impl Language {
    /// Every kind.
    pub(crate) const ALL: [Self; 5] = [
        Self::Rust,
        Self::Markdown,
        Self::Toml,
        Self::Text,
        Self::Opaque,
    ];

    /// Judges a file by its name; content decides later whether `Text` is text.
    pub(crate) fn of(path: &Path) -> Self {
        if path.file_name().is_some_and(|name| name == "Cargo.lock") {
            return Self::Toml;
        }
        let Some(extension) = path.extension().and_then(|e| e.to_str()) else {
            return Self::Text;
        };
        match extension.to_ascii_lowercase().as_str() {
            "rs" => Self::Rust,
            "md" | "markdown" => Self::Markdown,
            "toml" => Self::Toml,
            extension if BINARY.contains(&extension) => Self::Opaque,
            _ => Self::Text,
        }
    }

    /// The name in reports and, in lower case, of the capability.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Markdown => "Markdown",
            Self::Toml => "TOML",
            Self::Text => "Text",
            Self::Opaque => "Other",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Extensions whose files need not be opened to know that they are no text.
const BINARY: &[&str] = &[
    "7z", "a", "avif", "bin", "bmp", "br", "bz2", "class", "dll", "dylib", "eot", "exe", "gif",
    "gz", "icns", "ico", "jar", "jpeg", "jpg", "lib", "mp3", "mp4", "o", "obj", "ogg", "otf",
    "pdf", "png", "pyc", "rlib", "rmeta", "so", "sqlite", "tar", "tgz", "tif", "tiff", "ttf",
    "wasm", "wav", "webm", "webp", "woff", "woff2", "xz", "zip", "zst",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide() {
        let cases = [
            ("src/lib.rs", Language::Rust),
            ("README.md", Language::Markdown),
            ("a/Cargo.toml", Language::Toml),
            ("Cargo.lock", Language::Toml),
            ("LICENSE", Language::Text),
            (".env", Language::Text),
            ("logo.PNG", Language::Opaque),
            ("Cargo.toml.orig", Language::Text),
        ];
        for (path, language) in cases {
            assert_eq!(Language::of(Path::new(path)), language, "{path}");
        }
    }

    #[test]
    fn binary_extensions_are_sorted() {
        assert!(BINARY.is_sorted());
    }
}
