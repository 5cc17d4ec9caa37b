//! What an analysis looks at: a file, and what it must know of the files around it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::code_audit::finding::Finding;
use crate::code_audit::language::Language;
use crate::code_audit::markdown::Neighbours;
use crate::code_audit::model::FileTask;
use crate::code_audit::rust_source::Reach;
use crate::code_audit::source::{Content, Source};

/// How much of a tree is carried to agents elsewhere: a run keeps what its tasks carry until it has ended.
pub(crate) const MAX_CARRIED_BYTES: u64 = 128 << 20;

/// Where the agent of a task finds what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Material {
    /// Below this directory of this machine; it is read when the task's turn comes.
    Here(PathBuf),
    /// In the task itself, so that any machine will do.
    Carried(Gathered),
    /// The walk has found out already that there is nothing to read, and why.
    Obstacle(Finding),
}

/// A file and what matters of its surroundings: all that an analysis needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gathered {
    /// The file itself.
    pub(crate) content: Content,
    /// What the files around it say.
    pub(crate) surroundings: Surroundings,
}

/// What an analysis must know of other files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Surroundings {
    /// Nothing.
    None,
    /// What the modules above make of a Rust file.
    Rust(Reach),
    /// What the links of a document lead to.
    Markdown(Neighbours),
}

impl Gathered {
    /// Reads the file at `path`, relative to `root`, and looks around. What cannot be read is content too.
    pub(crate) fn of(root: &Path, path: &str, language: Language) -> Self {
        let content = Content::read(root, path);
        let surroundings = match (language, &content) {
            (Language::Rust, Content::Whole(_)) => Surroundings::Rust(Reach::of(path, root)),
            (Language::Markdown, Content::Whole(bytes)) => match Source::of(bytes, path) {
                Source::Text { text, .. } => {
                    Surroundings::Markdown(Neighbours::of(&text, path, root))
                }
                Source::Binary { .. } => Surroundings::None,
            },
            _ => Surroundings::None,
        };
        Self {
            content,
            surroundings,
        }
    }
}

/// There is more than [`MAX_CARRIED_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// Puts what the tasks are about into the tasks, reading on all cores.
///
/// # Errors
///
/// [`TooMuch`].
pub(crate) fn carry(tasks: &mut [FileTask], limit: u64) -> Result<(), TooMuch> {
    let carried = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = tasks.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        for tasks in tasks.chunks_mut(share) {
            scope.spawn(|| {
                for task in tasks {
                    if carried.load(Ordering::Relaxed) > limit {
                        return;
                    }
                    carried.fetch_add(carry_one(task), Ordering::Relaxed);
                }
            });
        }
    });
    if carried.into_inner() > limit {
        return Err(TooMuch);
    }
    Ok(())
}

/// Puts into a task what it is about; says how many bytes that are.
fn carry_one(task: &mut FileTask) -> u64 {
    let Material::Here(root) = &task.material else {
        return 0;
    };
    let mut gathered = Gathered::of(root, &task.path, task.language);
    gathered.content = gathered.content.without_binary(&task.path);
    let bytes = gathered.content.carried();
    task.material = Material::Carried(gathered);
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::code_audit::analysis::analyse;
    use crate::code_audit::model::MAX_ANALYSED_BYTES;
    use crate::code_audit::walk::Walk;

    /// A tree in which every kind of content and of surroundings occurs.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        let write = |path: &str, content: &[u8]| fs::write(dir.path().join(path), content).unwrap();
        write(
            "Cargo.toml",
            b"[package]\nname = \"sample\"\n[dependencies]\nserde = \"*\"\n",
        );
        write(
            "src/lib.rs",
            b"//! Sample.\nmod inner;\npub use inner::Shown;\n",
        );
        write(
            "src/inner.rs",
            b"pub struct Shown;\npub struct Hidden;\nfn broken( {\n",
        );
        write(
            "README.md",
            b"# Here\n[a](gone.md) [b](#here) [c](#there) [d](docs.md#x) [e](docs.md)\n",
        );
        write("docs.md", b"# Documents\n");
        write("data.bin", &[0, 159, 146, 150, 0, 1]);
        write("latin1.txt", b"caf\xe9 is latin-1, not utf-8\n");
        write("utf16.txt", b"\xff\xfea\0b\0");
        let large = fs::File::create(dir.path().join("large.txt")).unwrap();
        large.set_len(MAX_ANALYSED_BYTES + 1).unwrap();
        dir
    }

    #[test]
    fn what_is_carried_is_analysed_as_what_is_here_when_the_tree_is_gone() {
        let dir = tree();
        let here: Vec<_> = Walk::new(dir.path()).unwrap().collect();
        let expected: Vec<_> = here.iter().map(analyse).collect();
        assert!(
            expected
                .iter()
                .map(|file| file.findings.len())
                .sum::<usize>()
                >= 7,
            "{expected:#?}"
        );
        let mut carried = here;
        carry(&mut carried, MAX_CARRIED_BYTES).unwrap();
        drop(dir);
        let wire = serde_json::to_vec(&carried).unwrap();
        let arrived: Vec<FileTask> = serde_json::from_slice(&wire).unwrap();
        assert_eq!(arrived, carried);
        assert_eq!(arrived.iter().map(analyse).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_task_says_nothing_of_where_it_was_read() {
        let dir = tree();
        let mut tasks: Vec<_> = Walk::new(dir.path()).unwrap().collect();
        carry(&mut tasks, MAX_CARRIED_BYTES).unwrap();
        let wire = serde_json::to_string(&tasks).unwrap();
        assert!(!wire.contains(dir.path().to_str().unwrap()), "{wire}");
    }

    #[test]
    fn binaries_are_not_carried_and_of_large_files_only_the_head() {
        let dir = tree();
        let mut tasks: Vec<_> = Walk::new(dir.path()).unwrap().collect();
        carry(&mut tasks, MAX_CARRIED_BYTES).unwrap();
        let content = |path: &str| {
            let task = tasks.iter().find(|task| task.path == path).unwrap();
            match &task.material {
                Material::Carried(gathered) => gathered.content.clone(),
                other => unreachable!("{path}: {other:?}"),
            }
        };
        assert_eq!(content("data.bin"), Content::Binary { size: 6 });
        let Content::Large { size, head } = content("large.txt") else {
            unreachable!("it is over the limit");
        };
        assert_eq!((size, head.len()), (MAX_ANALYSED_BYTES + 1, 1 << 20));
    }

    #[test]
    fn more_than_can_be_carried_is_refused() {
        let dir = tree();
        let mut tasks: Vec<_> = Walk::new(dir.path()).unwrap().collect();
        assert_eq!(carry(&mut tasks, 1 << 20), Err(TooMuch));
        assert_eq!(carry(&mut [], 0), Ok(()));
    }
}
