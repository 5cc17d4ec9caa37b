use super::*;
use crate::code_audit::finding::Finding;
use crate::code_audit::language::Language;
use crate::code_audit::material::Material;
use crate::code_audit::model::{FileReport, FileTask, MAX_FINDINGS_LISTED, PackageTask};
use crate::code_audit::rules::Rule;
use crate::code_audit::run::{NodeKind, NodeState};
use crate::code_audit::summary::summarise;

const EVIL: &str = "a/<script>alert('x')</script>|`\"\n.rs";

fn statistics() -> RunStatistics {
    RunStatistics {
        tasks: 3,
        succeeded: 3,
        failed: 0,
        not_done: 0,
        autonomy: 1.0,
        utilisation: 0.5,
        wall_ms: 10,
        max_concurrency: 2,
        cancelled: false,
        workers: Vec::new(),
    }
}

fn audit(path: &str, findings: usize) -> AuditReport {
    let mut report = AuditReport::new(path);
    let files = (0..findings.max(1)).map(|index| {
        let mut file = FileReport::new(&FileTask {
            path: path.to_owned(),
            package: path.to_owned(),
            language: Language::Rust,
            size: 1,
            material: Material::Here("/".into()),
        });
        if findings > 0 {
            let message = format!("`{path}` leads to no file");
            file.add(vec![Finding::new(Rule::DeadLink, path, index + 1, message)]);
        }
        file
    });
    report.add(summarise(PackageTask {
        package: path.to_owned(),
        files: files.collect(),
    }));
    report.finish()
}

fn node(label: &str, kind: NodeKind, upstream: &[usize]) -> RunNode {
    RunNode {
        label: label.to_owned(),
        kind,
        state: NodeState::Succeeded,
        duration_us: 1_500,
        package: Some(label.to_owned()),
        language: None,
        upstream: upstream.to_vec(),
    }
}

/// A run over `files` files in `packages` packages.
fn large_run(files: usize, packages: usize) -> Vec<RunNode> {
    let mut nodes = vec![RunNode {
        package: None,
        ..node("plan", NodeKind::Plan, &[])
    }];
    for index in 0..files {
        let mut file = node(
            &format!("package-{}", index % packages),
            NodeKind::Analyse,
            &[0],
        );
        file.language = Some(if index % 3 == 0 {
            Language::Text
        } else {
            Language::Rust
        });
        nodes.push(file);
    }
    for package in 0..packages {
        let upstream: Vec<_> = (0..files)
            .filter(|file| file % packages == package)
            .map(|file| file + 1)
            .collect();
        nodes.push(node(
            &format!("package-{package}"),
            NodeKind::Summarise,
            &upstream,
        ));
    }
    let upstream: Vec<_> = (files + 1..files + 1 + packages).collect();
    nodes.push(RunNode {
        package: None,
        ..node("report", NodeKind::Report, &upstream)
    });
    nodes
}

#[test]
fn html_escapes_everything_that_comes_from_the_tree() {
    let audit = audit(EVIL, 1);
    let nodes = [node(EVIL, NodeKind::Analyse, &[])];
    let page = html::render(Page {
        audit: &audit,
        run: &statistics(),
        nodes: &nodes,
    });
    assert_eq!(page.matches("<script").count(), 1, "only the page's own");
    assert!(page.contains("a/&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
    assert!(!page.contains("alert('x')"));
}

#[test]
fn the_page_needs_nothing_else() {
    let audit = audit("a.rs", 3);
    let nodes = large_run(9, 3);
    let page = html::render(Page {
        audit: &audit,
        run: &statistics(),
        nodes: &nodes,
    });
    for external in ["http://", "https://", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(external), "{external}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("<svg class=\"graph\""));
}

#[test]
fn markdown_holds_its_table_together() {
    let audit = audit(EVIL, 1);
    let text = markdown::render(Page {
        audit: &audit,
        run: &statistics(),
        nodes: &[],
    });
    let row = text
        .lines()
        .find(|line| line.starts_with("| medium | dead-link"))
        .unwrap();
    let columns = row.replace("\\|", "").matches('|').count();
    assert_eq!(columns, 5, "{row}");
    assert!(row.contains("&lt;script>"));
}

#[test]
fn a_long_list_is_cut_and_the_rest_counted() {
    let audit = audit("a.rs", 5_000);
    let page = Page {
        audit: &audit,
        run: &statistics(),
        nodes: &[],
    };
    let html = html::render(page);
    assert_eq!(
        html.matches("<tr data-severity=").count(),
        audit.findings.len()
    );
    assert!(audit.findings.len() <= MAX_FINDINGS_LISTED);
    let omitted = thousands(audit.omitted);
    assert!(audit.omitted > 0 && html.contains(&format!("{omitted} more are only counted")));
    assert!(markdown::render(page).contains("… and 4,700 findings more."));
    assert!(html.len() < 1 << 20, "{} bytes", html.len());
}

#[test]
fn a_clean_tree_says_so() {
    let audit = audit("a.rs", 0);
    let page = Page {
        audit: &audit,
        run: &statistics(),
        nodes: &[],
    };
    assert!(html::render(page).contains("<p class=\"empty\">None.</p>"));
    assert!(markdown::render(page).contains("None.\n"));
}

#[test]
fn a_small_run_is_drawn_task_by_task() {
    let groups = graph::aggregate(&large_run(6, 2));
    assert_eq!(groups.len(), 10);
    let layers: Vec<_> = groups.iter().map(|group| group.layer).collect();
    assert_eq!(layers, [0, 1, 1, 1, 1, 1, 1, 2, 2, 3]);
}

#[test]
fn a_run_of_thousands_becomes_a_few_boxes() {
    let nodes = large_run(6_000, 100);
    let groups = graph::aggregate(&nodes);
    // 11 packages and what the others share, in two languages each; their summaries; plan and report.
    assert_eq!(groups.len(), 12 * 2 + 12 + 2);
    assert_eq!(
        groups.iter().map(graph::Group::tasks).sum::<u64>(),
        nodes.len() as u64
    );
    assert!(
        groups
            .iter()
            .any(|group| group.label == "89 other packages")
    );
    assert!(svg::render(&nodes).len() < 32 << 10);
}

#[test]
fn what_did_not_succeed_shows() {
    let mut nodes = large_run(6_000, 10);
    nodes[17].state = NodeState::Failed;
    let svg = svg::render(&nodes);
    assert_eq!(svg.matches("class=\"node analyse failed\"").count(), 1);
    assert!(svg.contains("1 failed"));
}

#[test]
fn a_circle_does_not_hang_the_picture() {
    let nodes = [
        node("a", NodeKind::Analyse, &[1]),
        node("b", NodeKind::Analyse, &[0]),
    ];
    assert!(svg::render(&nodes).ends_with("</svg>"));
}

#[test]
fn both_files_are_written_into_new_directories() {
    let dir = tempfile::tempdir().unwrap();
    let audit = audit("a.rs", 1);
    let page = Page {
        audit: &audit,
        run: &statistics(),
        nodes: &[],
    };
    let (markdown, html) = (dir.path().join("x/y/r.md"), dir.path().join("x/y/r.html"));
    write(page, &markdown, &html).unwrap();
    assert!(
        fs::read_to_string(markdown)
            .unwrap()
            .starts_with("# Code audit")
    );
    assert!(
        fs::read_to_string(html)
            .unwrap()
            .starts_with("<!DOCTYPE html>")
    );
    let blocked = write(
        page,
        &dir.path().join("x/y/r.md/z.md"),
        &dir.path().join("z.html"),
    )
    .unwrap_err();
    assert!(blocked.to_string().contains("cannot write"), "{blocked}");
}
