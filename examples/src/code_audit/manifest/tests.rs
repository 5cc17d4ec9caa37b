use super::*;

fn found(text: &str) -> Vec<(Rule, u32)> {
    check(text, "Cargo.toml")
        .iter()
        .map(|f| (f.rule, f.line))
        .collect()
}

#[test]
fn invalid_toml_is_located_in_any_file() {
    let findings = check("a = 1\nb = = 2\n", "config/app.toml");
    assert_eq!((findings[0].rule, findings[0].line), (Rule::InvalidToml, 2));
    assert_eq!(check("[dependencies]\na = \"*\"", "config/app.toml"), []);
    let in_tests = check("= 1", "tests/bad.toml");
    assert_eq!(in_tests[0].severity, Severity::Info);
}

#[test]
fn wildcards_are_found_in_every_kind_of_section() {
    let text = "[dependencies]\na = \"*\"\nb = { version = \"*\" }\nc = \"1.*\"\n\
        [target.'cfg(unix)'.dev-dependencies]\nd = \"*\"\n[workspace.dependencies]\ne = \"*\"\n\
        [dependencies.f]\nversion = \"*\"\n";
    let lines: Vec<_> = found(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, [2, 3, 6, 8, 9]);
}

#[test]
fn a_development_dependency_that_adds_nothing_is_a_duplicate() {
    let text = "[dependencies]\na = \"1\"\n[dev-dependencies]\na = \"1\"\n";
    assert_eq!(found(text), [(Rule::DuplicateDependency, 4)]);
    let findings = check(text, "Cargo.toml");
    assert_eq!(
        findings[0].message,
        "`a` in [dev-dependencies] repeats [dependencies] on line 2"
    );
    let target = "[dependencies]\na = \"1\"\n[target.'cfg(unix)'.dependencies]\na = \"1\"\n";
    assert_eq!(found(target), [(Rule::DuplicateDependency, 4)]);
    let renamed = "[dependencies]\na = \"1\"\nb = { package = \"a\", version = \"1\" }\n";
    assert_eq!(found(renamed), [(Rule::DuplicateDependency, 3)]);
}

#[test]
fn what_adds_something_is_no_duplicate() {
    for text in [
        "[dependencies]\na = \"1\"\n[dev-dependencies]\na = { version = \"1\", features = [\"x\"] }\n",
        "[dependencies]\na = { version = \"1\", optional = true }\n[dev-dependencies]\na = \"1\"\n",
        "[dependencies]\na = { version = \"1\", default-features = false }\n[dev-dependencies]\na = \"1\"\n",
        "[dependencies]\na = \"1\"\n[dev-dependencies]\na = \"2\"\n",
        "[dependencies]\na = \"1\"\n[build-dependencies]\na = \"1\"\n",
        "[target.x.dependencies]\na = \"1\"\n[target.y.dependencies]\na = \"1\"\n",
        "[dependencies]\na.workspace = true\n[workspace.dependencies]\na = \"1\"\n",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn git_and_path_without_a_version_hinder_publishing() {
    let text = "[package]\nname = \"p\"\n[dependencies]\n\
        a = { git = \"https://x\" }\n\
        b = { git = \"https://x\", version = \"1\" }\n\
        c = { path = \"../c\" }\n\
        d = { path = \"../d\", version = \"1\" }\n\
        [dev-dependencies]\ne = { path = \"../e\" }\n";
    assert_eq!(
        found(text),
        [(Rule::GitDependency, 4), (Rule::PathDependency, 6)]
    );
    let unpublished = text.replace("name", "publish = false\nname");
    assert_eq!(found(&unpublished), [(Rule::GitDependency, 5)]);
}
