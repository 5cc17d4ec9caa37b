use std::fs;

use tempfile::TempDir;

use super::*;

fn docs() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("docs/img")).unwrap();
    fs::write(
        dir.path().join("README.md"),
        "# Über uns!\n## Set `up`\n## Set up\n",
    )
    .unwrap();
    fs::write(dir.path().join("docs/img/a b.png"), "").unwrap();
    dir
}

fn check_in(text: &str, root: &Path) -> Vec<Finding> {
    let path = "docs/guide.md";
    check(text, path, &Neighbours::of(text, path, root))
}

fn found(text: &str) -> Vec<(Rule, u32)> {
    let dir = docs();
    check_in(text, dir.path())
        .iter()
        .map(|f| (f.rule, f.line))
        .collect()
}

#[test]
fn dead_links_and_images_are_located() {
    assert_eq!(found("ok\n\n[x](gone.md)"), [(Rule::DeadLink, 3)]);
    assert_eq!(found("![x](img/gone.png)"), [(Rule::DeadLink, 1)]);
    assert_eq!(found("[x][r]\n\n[r]: gone.md"), [(Rule::DeadLink, 1)]);
    assert_eq!(found("<img src=\"img/gone.png\">"), [(Rule::DeadLink, 1)]);
}

#[test]
fn living_links_are_followed_in_every_spelling() {
    for text in [
        "[x](../README.md)",
        "[x](<img/a b.png>) ![y](img/a%20b.png)",
        "[x](img)",
        "[x](../README)",
        "[x](../README.html?plain=1)",
        "<a href='img/a b.png'>x</a>",
        "`[x](gone.md)`",
        "```\n[x](gone.md)\n```",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn what_cannot_be_judged_here_is_left_alone() {
    for text in [
        "[x](https://a.b/c) <https://x.y> <me@x.y>",
        "[x](mailto:me@x.y) [y](//host/x) [z](/site/root)",
        "[x](../../other-repo/a.md)",
        "[`Foo`](crate::code_audit::foo::Foo) [x]({{ site.url }}/x)",
        "[x]()",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn anchors_are_github_s() {
    assert_eq!(found("# One, two & three\n[x](#one-two--three)"), []);
    assert_eq!(found("# One\n[x](#two)"), [(Rule::DeadAnchor, 2)]);
    assert_eq!(
        found("[x](../README.md#über-uns) [y](../README.md#set-up-1)"),
        []
    );
    assert_eq!(found("[x](../README.md#%C3%BCber-uns)"), []);
    assert_eq!(found("[x](../README.md#set-up-2)"), [(Rule::DeadAnchor, 1)]);
    assert_eq!(
        found("<a id=\"here\"></a> [x](#here) [y](#L10) [z](#top)"),
        []
    );
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_tree_is_not_read() {
    let outside = docs();
    let dir = docs();
    std::os::unix::fs::symlink(
        outside.path().join("README.md"),
        dir.path().join("docs/out.md"),
    )
    .unwrap();
    assert_eq!(check_in("[x](out.md#no-such-heading)", dir.path()), []);
}

#[test]
fn damaged_percent_signs_are_taken_as_they_are() {
    let target = Target::parse("100%#a%2").unwrap();
    assert_eq!(
        (target.path.as_str(), target.anchor.as_deref()),
        ("100%", Some("a%2"))
    );
}
