//! Walks a source tree lazily and in a fixed order: one task per file, obstacles included.

mod link;
mod package;

use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};

use crate::code_audit::finding::Finding;
use crate::code_audit::language::Language;
use crate::code_audit::material::Material;
use crate::code_audit::model::FileTask;
use crate::code_audit::rules::Rule;

use package::Packages;

/// The files of a tree that `.gitignore` does not exclude, in the order of their names.
///
/// Symbolic links are never followed, so the walk ends and stays inside the tree; those that are in
/// circles, lead out of the tree or to nothing come as tasks with an obstacle, as do directories that
/// cannot be read and files that are no files. The walk holds one directory's entries per level.
pub(crate) struct Walk {
    entries: ignore::Walk,
    root: PathBuf,
    packages: Packages,
}

impl Walk {
    /// Starts at `path`: a directory, or one file.
    ///
    /// # Errors
    ///
    /// If `path` does not exist or cannot be read.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let is_dir = path.metadata()?.is_dir();
        if is_dir {
            path.read_dir()?;
        }
        // A file without a parent is the root directory, which is no file.
        let root = match path.parent() {
            Some(parent) if !is_dir => parent.to_path_buf(),
            _ => path.clone(),
        };
        let entries = WalkBuilder::new(&path)
            .hidden(false)
            .require_git(false)
            .git_global(false)
            .follow_links(false)
            .sort_by_file_name(std::cmp::Ord::cmp)
            .filter_entry(|entry| !is_repository_store(entry))
            .build();
        let packages = Packages::new(&root);
        Ok(Self {
            entries,
            root,
            packages,
        })
    }

    fn task(&mut self, entry: &DirEntry) -> Option<FileTask> {
        if let Some(error) = entry.error() {
            // A malformed .gitignore: the rest of its patterns still holds.
            let path = error_path(error).unwrap_or_else(|| entry.path().to_path_buf());
            return Some(self.obstacle(&path, Rule::Unreadable, one_line(error)));
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            return None;
        }
        if entry.path().to_str().is_none() {
            let message = "its name is not UTF-8, so that no task can carry it".to_owned();
            return Some(self.obstacle(entry.path(), Rule::Unreadable, message));
        }
        if kind.is_symlink() {
            let (rule, message) = link::problem(&self.root, entry.path())?;
            return Some(self.obstacle(entry.path(), rule, message));
        }
        if !kind.is_file() {
            let message = format!("a {}: not opened", special_kind(kind));
            return Some(self.obstacle(entry.path(), Rule::SpecialFile, message));
        }
        let mut task = self.file(entry.path());
        // The size only serves planning; the analysis measures again when it opens the file.
        task.size = entry.metadata().map_or(0, |metadata| metadata.len());
        Some(task)
    }

    fn file(&mut self, path: &Path) -> FileTask {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        FileTask {
            path: slashed(relative),
            package: self.packages.of(relative),
            language: Language::of(relative),
            size: 0,
            material: Material::Here(self.root.clone()),
        }
    }

    fn obstacle(&mut self, path: &Path, rule: Rule, message: String) -> FileTask {
        let mut task = self.file(path);
        task.language = Language::Opaque;
        task.material = Material::Obstacle(Finding::new(rule, &task.path, 0, message));
        task
    }
}

impl Iterator for Walk {
    type Item = FileTask;

    fn next(&mut self) -> Option<FileTask> {
        loop {
            let task = match self.entries.next()? {
                Ok(entry) => self.task(&entry),
                Err(error) => {
                    let path = error_path(&error).unwrap_or_else(|| self.root.clone());
                    let message = match error.io_error() {
                        Some(cause) => format!("cannot be read: {cause}"),
                        None => one_line(&error),
                    };
                    Some(self.obstacle(&path, Rule::Unreadable, message))
                }
            };
            if task.is_some() {
                return task;
            }
        }
    }
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// The databases of version control systems: not part of the source.
fn is_repository_store(entry: &DirEntry) -> bool {
    entry.depth() > 0
        && [".git", ".hg", ".jj", ".svn"]
            .iter()
            .any(|name| entry.file_name() == *name)
}

fn error_path(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path.clone()),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            error_path(err)
        }
        ignore::Error::Loop { child, .. } => Some(child.clone()),
        ignore::Error::Partial(errors) => errors.iter().find_map(error_path),
        _ => None,
    }
}

/// An error may speak of several lines of a file.
fn one_line(error: &ignore::Error) -> String {
    error.to_string().lines().collect::<Vec<_>>().join("; ")
}

/// Writes a path with `/` between its parts; bytes that are no UTF-8 become replacement characters.
fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(unix)]
fn special_kind(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
fn special_kind(_: FileType) -> &'static str {
    "special file"
}

#[cfg(test)]
mod tests;
