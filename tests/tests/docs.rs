//! The pages that people read: links resolve, commands and the first program are what they should be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and every page below `docs`.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The blocks of a page whose fence says `language`.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(fence)) => open = Some((fence == language, String::new())),
            (Some(_), Some("")) => {
                blocks.extend(
                    open.take()
                        .filter(|(wanted, _)| *wanted)
                        .map(|(_, text)| text),
                );
            }
            (Some((_, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// A page without its blocks and without what stands between backticks.
fn prose(page: &str) -> String {
    let mut prose = String::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// Where the links of a page lead.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let parts = prose.split("](").skip(1);
    parts
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchors that a page's headings make, as GitHub does it.
fn anchors(page: &str) -> BTreeSet<String> {
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// What is wrong with a link of a page, if anything is.
fn fault(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    let (path, anchor) = link
        .split_once('#')
        .map_or((link, None), |(p, a)| (p, Some(a)));
    let target = if path.is_empty() {
        page.to_owned()
    } else {
        page.parent().unwrap().join(path)
    };
    if !target.exists() {
        return Some(format!("{}: `{link}` leads nowhere", page.display()));
    }
    let anchor = anchor?;
    let known = fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor));
    (!known).then(|| format!("{}: `{link}` names no heading", page.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let count = |page: &PathBuf| links(&read(page)).len();
    assert!(pages.iter().map(count).sum::<usize>() > 40, "{pages:?}");
    let faults: Vec<_> = pages
        .iter()
        .flat_map(|page| links(&read(page)).into_iter().map(move |link| (page, link)))
        .filter_map(|(page, link)| fault(page, &link))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_decision_is_listed_and_says_context_decision_and_consequence() {
    let listed: BTreeSet<_> = links(&read("docs/decisions/README.md"))
        .into_iter()
        .collect();
    let mut found = 0;
    for entry in fs::read_dir(root().join("docs/decisions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        found += 1;
        assert!(listed.contains(&name), "{name} is not listed");
        let page = read(format!("docs/decisions/{name}"));
        for part in ["## Context", "## Decision", "## Consequence"] {
            assert!(page.contains(part), "{name} has no `{part}`");
        }
    }
    assert!(found > 10, "only {found} decisions");
}

/// The names between backticks that can only be those of tests: four words or more.
fn names_of_tests(page: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let quoted = page.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.matches('_').count() >= 3 && name.chars().all(word))
        .map(str::to_owned)
        .collect()
}

/// The names of all functions in the repository's Rust files.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(path).unwrap();
                let found = text.split("fn ").skip(1);
                names.extend(found.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
            }
        }
    }
    names
}

#[test]
fn every_test_that_a_page_names_exists() {
    let functions = functions();
    let mut found = 0;
    for page in pages() {
        for name in names_of_tests(&prose(&read(&page))) {
            found += 1;
            assert!(functions.contains(&name), "{}: `{name}`", page.display());
        }
    }
    assert!(found > 20, "only {found} names");
}

#[test]
fn the_first_two_blocks_of_the_readme_are_the_main_job_and_the_tests() {
    let blocks = blocks(&read("README.md"), "sh");
    assert_eq!(
        blocks[..2],
        [
            "cargo run --release -p coditect-examples --example code_audit -- .\n",
            "tests/setup.sh\ncargo test --workspace --all-features\n",
        ]
    );
}

#[test]
fn the_first_program_is_the_example_that_compiles() {
    let example = read("examples/quickstart.rs");
    let code = example
        .lines()
        .skip_while(|line| line.starts_with("//!") || line.is_empty());
    // What the example has for its command line alone.
    let code = code.filter(|line| !line.contains("coditect_examples::"));
    let code: Vec<_> = code.collect();
    let program = &blocks(&read("README.md"), "rust")[0];
    assert_eq!(program.lines().collect::<Vec<_>>(), code);
    let count = code.iter().filter(|line| !line.trim().is_empty()).count();
    assert!(
        count <= 15,
        "{count} lines of code are too many for a first look"
    );
}

#[test]
fn every_crate_and_example_is_in_the_readme() {
    let readme = read("README.md");
    let mut found = 0;
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("coditect-") {
            found += 1;
            assert!(readme.contains(&format!("]({name})")), "{name}");
        }
    }
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".rs") {
            found += 1;
            assert!(readme.contains(&format!("](examples/{name})")), "{name}");
        }
    }
    assert!(found > 7, "only {found}");
}

#[test]
fn the_readme_states_the_rust_version_of_the_workspace() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .unwrap();
    let readme = read("README.md");
    assert!(readme.contains(&format!("Rust](https://rustup.rs) {version} or later")));
    assert!(readme.contains(&format!("Rust version is {version}.")));
}

/// The names in a text that begin like the SDK's headers and stand between such marks.
fn headers(text: &str, mark: char) -> BTreeSet<String> {
    let quoted = text.split(mark).skip(1).step_by(2);
    let named = quoted.filter(|name| {
        let word = |c: char| c.is_ascii_lowercase() || c == '-';
        name.starts_with("coditect-") && name.chars().all(word)
    });
    named.map(str::to_owned).collect()
}

/// The names in the first column of a page's table whose head begins so.
fn first_column(page: &str, head: &str) -> BTreeSet<String> {
    let (_, table) = page.split_once(head).expect(head);
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| headers(row.split('|').nth(1).unwrap(), '`'))
        .collect()
}

#[test]
fn the_headers_of_the_wire_are_those_of_the_code() {
    let page = read("docs/wire.md");
    let core = headers(&read("coditect-core/src/wire/mod.rs"), '"');
    assert!(core.len() > 10, "{core:?}");
    assert_eq!(first_column(&page, "| header | on | value |"), core);

    let code = read("coditect-bus/src/rabbitmq/wire.rs");
    let (before_tests, _) = code.split_once("struct Story").unwrap();
    // A prefix is no header.
    let bus: BTreeSet<_> = headers(before_tests, '"');
    let bus: BTreeSet<_> = bus.into_iter().filter(|it| !it.ends_with('-')).collect();
    assert!(bus.len() > 8, "{bus:?}");
    assert_eq!(
        first_column(&page, "| header of the bus | value | on |"),
        bus
    );
}

#[test]
fn what_the_agent_in_python_writes_is_on_the_page_that_it_is_made_of() {
    let page = read("docs/wire.md");
    let mut found = 0;
    for name in ["agent", "attempt", "request", "wire"] {
        let code = read(format!("examples/python/coditect/{name}.py"));
        for header in headers(&code, '"') {
            found += 1;
            assert!(page.contains(&header), "{name}.py: {header}");
        }
    }
    assert!(found > 8, "only {found}");
}

#[test]
fn what_is_wrong_is_found() {
    let page = "# One two\n[a](x.md) and [b](#one-two)\n```sh\n[c](y.md)\n```\n";
    assert_eq!(links(page), ["x.md", "#one-two"]);
    assert!(anchors(page).contains("one-two"));
    assert_eq!(blocks(page, "sh"), ["[c](y.md)\n"]);
    let table = "| header |\n|---|\n| `coditect-a` | `coditect-no` |\n| `b` |\n\n`coditect-c`";
    assert_eq!(
        Vec::from_iter(first_column(table, "| header |")),
        ["coditect-a"]
    );
    let readme = root().join("README.md");
    assert!(fault(&readme, "nowhere.md").is_some());
    assert!(fault(&readme, "README.md#nothing-of-the-kind").is_some());
    assert!(fault(&readme, "#the-crates").is_none());
}
