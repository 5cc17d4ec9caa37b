use std::fs::{self, File};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::code_audit::model::MAX_ANALYSED_BYTES;

fn task(dir: &TempDir, path: &str) -> FileTask {
    FileTask {
        path: path.to_owned(),
        package: "p".to_owned(),
        language: Language::of(Path::new(path)),
        size: 0,
        material: Material::Here(dir.path().to_path_buf()),
    }
}

fn audit(path: &str, content: &[u8]) -> FileReport {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(path), content).unwrap();
    analyse(&task(&dir, path))
}

fn rules(report: &FileReport) -> Vec<Rule> {
    report.findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn every_language_gets_its_own_checks_and_those_of_text() {
    let rust = audit("build_it.rs", b"fn main() { todo!() }\r\n// x\n");
    assert_eq!(rules(&rust), [Rule::TodoMacro, Rule::MixedLineEnds]);
    assert_eq!((rust.lines, rust.code_lines), (2, 1));
    assert_eq!(rules(&audit("a.md", b"[x](gone.md)")), [Rule::DeadLink]);
    assert_eq!(rules(&audit("a.toml", b"= 1")), [Rule::InvalidToml]);
    assert_eq!(rules(&audit("a.txt", b"fine\n")), []);
}

#[test]
fn a_file_of_100_mb_is_reported_and_never_held() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["huge.txt", "huge.rs"] {
        File::create(dir.path().join(name))
            .unwrap()
            .set_len(100 << 20)
            .unwrap();
        let report = analyse(&task(&dir, name));
        assert_eq!(rules(&report), [Rule::LargeFile]);
        assert_eq!(report.size, 100 << 20);
        assert_eq!(report.lines, 0);
    }
    const { assert!(MAX_ANALYSED_BYTES < 100 << 20) };
}

#[test]
fn a_secret_at_the_beginning_of_a_large_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let token = format!("token ghp_{}\n", "a1B2c3D4e5F6".repeat(3));
    fs::write(dir.path().join("dump.sql"), token).unwrap();
    let file = File::options()
        .write(true)
        .open(dir.path().join("dump.sql"))
        .unwrap();
    file.set_len(MAX_ANALYSED_BYTES + 1).unwrap();
    let report = analyse(&task(&dir, "dump.sql"));
    assert_eq!(rules(&report), [Rule::SecretToken, Rule::LargeFile]);
}

#[test]
fn what_vanishes_or_changes_after_the_walk_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let report = analyse(&task(&dir, "gone.rs"));
    assert_eq!(rules(&report), [Rule::Unreadable]);
    fs::create_dir(dir.path().join("d.rs")).unwrap();
    assert_eq!(rules(&analyse(&task(&dir, "d.rs"))), [Rule::Unreadable]);
}

#[test]
fn binaries_and_damaged_rust_are_reported() {
    let binary = audit("data", b"\x7fELF\0\x01\x02\0rest");
    assert_eq!(
        (rules(&binary), binary.language),
        (vec![Rule::BinaryFile], Language::Opaque)
    );
    let latin = audit("lib.rs", b"//! caf\xe9\nfn main() {}\n");
    assert_eq!(rules(&latin), [Rule::InvalidUtf8]);
    let broken = audit("lib.rs", b"fn main() {\n  let = ;\n}\n");
    assert_eq!(rules(&broken), [Rule::RustSyntax]);
    assert_eq!(broken.findings[0].line, 2);
}

#[test]
fn an_obstacle_of_the_walk_is_the_whole_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut task = task(&dir, "loop");
    task.material = Material::Obstacle(Finding::new(Rule::LinkLoop, "loop", 0, "leads to `.`"));
    assert_eq!(rules(&analyse(&task)), [Rule::LinkLoop]);
}

#[test]
fn tests_are_known_by_their_place() {
    for path in [
        "tests/a.rs",
        "a/src/x/tests.rs",
        "src/bus_tests.rs",
        "x/testdata/k.pem",
    ] {
        assert!(is_test_path(path), "{path}");
    }
    for path in [
        "src/lib.rs",
        "src/latest.rs",
        "src/attestation/mod.rs",
        "tests.d",
    ] {
        let path = PathBuf::from(path).with_extension("rs");
        assert_eq!(
            is_test_path(&path.to_string_lossy()),
            path.starts_with("tests.rs"),
            "{path:?}"
        );
    }
}
