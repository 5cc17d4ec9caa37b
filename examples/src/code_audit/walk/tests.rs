use std::fs;

use tempfile::TempDir;

use super::*;

fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn obstacle(task: &FileTask) -> Option<&Finding> {
    match &task.material {
        Material::Obstacle(finding) => Some(finding),
        _ => None,
    }
}

fn paths(root: &Path) -> Vec<String> {
    Walk::new(root).unwrap().map(|task| task.path).collect()
}

#[test]
fn gitignore_is_honoured_without_a_repository_and_hidden_files_are_seen() {
    let dir = tree(&[
        (".gitignore", "target\n*.log\n"),
        (".env", "A=1"),
        (".git/config", "x"),
        ("b.log", ""),
        ("src/lib.rs", ""),
        ("src/a.rs", ""),
        ("target/debug/x.rs", ""),
    ]);
    assert_eq!(
        paths(dir.path()),
        [".env", ".gitignore", "src/a.rs", "src/lib.rs"]
    );
}

#[test]
fn a_malformed_gitignore_is_reported_and_the_rest_of_it_holds() {
    let dir = tree(&[
        ("d/.gitignore", "[z-a\n*.log\n"),
        ("d/a.log", ""),
        ("d/b.rs", ""),
    ]);
    let tasks: Vec<_> = Walk::new(dir.path()).unwrap().collect();
    let paths: Vec<_> = tasks.iter().map(|task| task.path.as_str()).collect();
    assert_eq!(paths, ["d/.gitignore", "d/.gitignore", "d/b.rs"]);
    let finding = obstacle(&tasks[0]).unwrap();
    assert!(finding.message.contains("line 1"), "{}", finding.message);
}

#[test]
fn one_file_is_audited_alone() {
    let dir = tree(&[("a.rs", "fn a() {}"), ("b.rs", "")]);
    let tasks: Vec<_> = Walk::new(&dir.path().join("a.rs")).unwrap().collect();
    assert_eq!(tasks.len(), 1);
    assert_eq!((tasks[0].path.as_str(), tasks[0].size), ("a.rs", 9));
}

#[test]
fn a_missing_path_is_an_error_and_an_empty_tree_is_empty() {
    let dir = tree(&[]);
    assert_eq!(paths(dir.path()), Vec::<String>::new());
    let error = Walk::new(&dir.path().join("nowhere")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_nearest_manifest_names_the_package() {
    let dir = tree(&[
        ("Cargo.toml", "[workspace]\n"),
        ("README.md", ""),
        ("docs/guide.md", ""),
        ("alpha/Cargo.toml", "[package]\nname = \"alpha\"\n"),
        ("alpha/src/deep/x.rs", ""),
        ("vendor/b-1.0/Cargo.toml", "[package]\nname = \"b\"\n"),
        ("broken/Cargo.toml", "[package\n"),
    ]);
    let mut packages: Vec<_> = Walk::new(dir.path())
        .unwrap()
        .map(|task| (task.path, task.package))
        .collect();
    packages.sort();
    let expected = [
        ("Cargo.toml", "./"),
        ("README.md", "./"),
        ("alpha/Cargo.toml", "alpha"),
        ("alpha/src/deep/x.rs", "alpha"),
        ("broken/Cargo.toml", "broken/"),
        ("docs/guide.md", "docs/"),
        ("vendor/b-1.0/Cargo.toml", "b (vendor/b-1.0)"),
    ];
    let expected = expected.map(|(path, package)| (path.to_owned(), package.to_owned()));
    assert_eq!(packages, expected);
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn circles_dangling_and_leaving_links_are_reported_and_never_followed() {
        let outside = tree(&[("secret.rs", "")]);
        let dir = tree(&[("src/lib.rs", "")]);
        let root = dir.path();
        symlink("..", root.join("src/up")).unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        symlink("gone", root.join("dangling")).unwrap();
        symlink(outside.path(), root.join("outside")).unwrap();
        symlink("src", root.join("inside")).unwrap();

        let found: Vec<_> = Walk::new(root)
            .unwrap()
            .map(|task| {
                (
                    task.path.clone(),
                    obstacle(&task).map(|finding| finding.rule),
                )
            })
            .collect();
        let expected = [
            ("a", Some(Rule::LinkLoop)),
            ("b", Some(Rule::LinkLoop)),
            ("dangling", Some(Rule::LinkDangling)),
            ("outside", Some(Rule::LinkOutside)),
            ("src/lib.rs", None),
            ("src/up", Some(Rule::LinkLoop)),
        ];
        assert_eq!(found, expected.map(|(path, rule)| (path.to_owned(), rule)));
    }

    #[test]
    fn sockets_are_named_and_not_opened() {
        let dir = tree(&[]);
        let _socket = UnixListener::bind(dir.path().join("s")).unwrap();
        let task = Walk::new(dir.path()).unwrap().next().unwrap();
        let finding = obstacle(&task).unwrap();
        assert_eq!(
            (finding.rule, finding.message.as_str()),
            (Rule::SpecialFile, "a socket: not opened")
        );
    }

    #[test]
    fn a_name_that_is_no_utf8_is_reported_with_replacements() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tree(&[]);
        let name = std::ffi::OsStr::from_bytes(b"a\xff.rs");
        fs::write(dir.path().join(name), "").unwrap();
        let task = Walk::new(dir.path()).unwrap().next().unwrap();
        assert_eq!(task.path, "a\u{fffd}.rs");
        assert_eq!(obstacle(&task).unwrap().rule, Rule::Unreadable);
    }
}
