use std::fs;
use std::path::Path;

use super::*;

fn found(text: &str) -> Vec<(Rule, u32)> {
    found_in("build/x.rs", text)
}

fn found_in(path: &str, text: &str) -> Vec<(Rule, u32)> {
    let report = check(text, path, &Reach::of(path, Path::new("/nonexistent")));
    report.findings.iter().map(|f| (f.rule, f.line)).collect()
}

/// The rules that fire for a library's root.
fn in_library(text: &str) -> Vec<(Rule, u32)> {
    found_in("src/lib.rs", text)
}

#[test]
fn panics_are_located() {
    let text = "fn f() {\n  a.unwrap();\n  b.expect(\"x\");\n  todo!();\n  unimplemented!();\n  panic!(\"x\");\n}";
    let expected = [
        (Rule::Unwrap, 2),
        (Rule::Expect, 3),
        (Rule::TodoMacro, 4),
        (Rule::TodoMacro, 5),
        (Rule::Panic, 6),
    ];
    assert_eq!(found(text), expected);
    assert_eq!(
        found("fn f() { println!(\"{}\",\n x.unwrap()) }"),
        [(Rule::Unwrap, 2)]
    );
}

#[test]
fn panics_that_are_meant_or_are_none_are_left_alone() {
    for text in [
        "#[test]\nfn f() { a.unwrap(); panic!() }",
        "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }",
        "#[cfg(all(test, unix))]\nmod tests { fn f() { a.unwrap(); } }",
        "#![cfg(test)]\nfn f() { a.unwrap(); }",
        "#[tokio::test]\nasync fn f() { todo!() }",
        "const X: u8 = parse().unwrap();",
        "fn f() { parser.expect(Token::Comma); map.unwrap(1); }",
        "fn f() { unwrap(); s(\".unwrap()\"); }",
        "/// ```\n/// a.unwrap();\n/// ```\nfn f() {}",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
    assert_eq!(found_in("tests/a.rs", "fn f() { a.unwrap() }"), []);
    let by_users = "#[cfg(any(test, feature = \"x\"))]\nmod m { fn f() { a.unwrap(); } }";
    assert_eq!(found(by_users), [(Rule::Unwrap, 2)]);
    assert_eq!(
        found("#[cfg(not(test))]\nfn f() { a.unwrap(); }"),
        [(Rule::Unwrap, 2)]
    );
}

#[test]
fn unsafe_code_is_judged_by_its_comment() {
    let bare = "fn f() {\n    unsafe { g() }\n}";
    assert_eq!(found(bare), [(Rule::UnsafeUndocumented, 2)]);
    for text in [
        "fn f() {\n    // SAFETY: g is pure.\n    unsafe { g() }\n}",
        "fn f() {\n    // Safety: two\n    // lines.\n    let x =\n        unsafe { g() };\n}",
        "fn f() {\n    unsafe {\n        // SAFETY: inside.\n        g()\n    }\n}",
        "fn f() { unsafe { g() } } // SAFETY: here",
        "// SAFETY: no state.\nunsafe impl Send for X {}",
    ] {
        let rules: Vec<_> = found(text).into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(rules, [Rule::Unsafe], "{text}");
    }
    let other =
        "fn f() {\n    // SAFETY: of the first.\n    unsafe { g() };\n    unsafe { h() };\n}";
    assert_eq!(found(other)[1], (Rule::UnsafeUndocumented, 4));
}

#[test]
fn public_items_of_a_library_need_documentation() {
    let text = "pub fn a() {}\npub struct S { pub x: u8, y: u8 }\nimpl S { pub fn m(&self) {} fn p() {} }\n\
        pub enum E { A, B }\npub trait T { fn t(); }\npub mod m { pub const C: u8 = 0; }\n\
        #[macro_export] macro_rules! mac { () => {} }";
    let lines: Vec<_> = in_library(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, [1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7]);
}

#[test]
fn what_users_cannot_see_needs_none() {
    for text in [
        "/// Doc.\npub fn a() {}",
        "#[doc = include_str!(\"x.md\")]\npub fn a() {}",
        "#[doc(hidden)]\npub mod m { pub fn a() {} }",
        "pub(crate) fn a() {} pub(super) fn b() {} fn c() {}",
        "mod private { pub fn a() {} }",
        "struct S; impl S { pub fn m() {} }",
        "/// Doc.\npub struct S; impl Clone for S { fn clone(&self) -> S { S } }",
        "macro_rules! m { () => {} }",
        "#![allow(missing_docs)]\npub fn a() {}",
        "#[cfg(test)]\npub fn a() {}",
        "#[cfg_attr(docsrs, doc(cfg(x)))]\n/// Doc.\npub fn a() {}",
        "fn f() { pub struct Local; }",
    ] {
        assert_eq!(in_library(text), [], "{text}");
    }
    for path in [
        "src/main.rs",
        "src/bin/x.rs",
        "tests/a.rs",
        "examples/a.rs",
        "build.rs",
    ] {
        assert_eq!(found_in(path, "pub fn a() {}"), [], "{path}");
    }
}

#[test]
fn modules_above_decide_what_can_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("src/open")).unwrap();
    let write =
        |path: &str, text: &str| fs::write(dir.path().join("src").join(path), text).unwrap();
    write(
        "lib.rs",
        "pub mod open;\nmod closed;\nmod named;\nmod all;\npub(crate) mod inner;\n\
         pub use named::{Shown, other};\npub use crate::code_audit::all::*;\n\
         #[doc(hidden)]\npub mod __private {\n    pub use crate::code_audit::closed::Shown;\n}\n",
    );
    write("open/mod.rs", "mod deep;\npub mod wide;\n");
    let missing = |path: &str| {
        let text = "pub struct Shown;\npub struct Internal;\n";
        let path = format!("src/{path}");
        check(text, &path, &Reach::of(&path, dir.path()))
            .findings
            .len()
    };
    assert_eq!(missing("open/mod.rs"), 2);
    assert_eq!(missing("open/wide.rs"), 2);
    assert_eq!(missing("open/deep.rs"), 0);
    assert_eq!(missing("closed.rs"), 0);
    assert_eq!(missing("inner.rs"), 0);
    assert_eq!(missing("named.rs"), 1);
    assert_eq!(missing("all.rs"), 2);
}

#[test]
fn functions_are_measured() {
    let arms = "        1 if x => 2,\n".repeat(3);
    let text = format!(
        "impl<T> S<T> {{\n    fn m() {{\n        // comment\n\n        match x {{\n{arms}        _ => 0,\n        }};\n        \
         if a && b || c {{}}\n        let Some(x) = y else {{ return }};\n        fn inner() {{ loop {{}} }}\n    }}\n}}"
    );
    let report = check(&text, "x.rs", &Reach::of("x.rs", Path::new("/nonexistent")));
    let measures: Vec<_> = report
        .functions
        .iter()
        .map(|f| (f.name.as_str(), f.line, f.lines, f.complexity))
        .collect();
    // 1 + match + 3 guards + if + && + || + let-else.
    assert_eq!(measures, [("S::m", 2, 11, 9), ("inner", 13, 1, 2)]);
}

#[test]
fn long_and_complex_functions_are_reported() {
    let long = format!("fn f() {{\n{}}}", "    g();\n".repeat(100));
    assert_eq!(found(&long), [(Rule::LongFunction, 1)]);
    let complex = format!("\nfn f() {{ {} }}", "if a {} ".repeat(26));
    assert_eq!(found(&complex), [(Rule::ComplexFunction, 2)]);
    assert_eq!(found(&format!("#[test]\n{long}")), []);
}

#[test]
fn broken_rust_is_one_finding_at_its_line() {
    assert_eq!(found("fn a() {}\nfn b( {}\n"), [(Rule::RustSyntax, 2)]);
    assert_eq!(
        found("fn a() {\n  \"unterminated\n}"),
        [(Rule::RustSyntax, 2)]
    );
    assert_eq!(found("fn a() {}\n}\n"), [(Rule::RustSyntax, 2)]);
    let report = check(
        "fn (",
        "tests/ui/bad.rs",
        &Reach::of("tests/ui/bad.rs", Path::new("/nonexistent")),
    );
    assert_eq!(report.findings[0].severity, Severity::Info);
}

#[test]
fn a_prelude_does_not_move_lines() {
    assert_eq!(
        found("#!/usr/bin/env rustx\nfn f() {}\nfn g() { todo!() }"),
        [(Rule::TodoMacro, 3)]
    );
    assert_eq!(
        found("\u{feff}#![allow(x)]\nfn g() { todo!() }"),
        [(Rule::TodoMacro, 2)]
    );
    assert_eq!(found("#!/usr/bin/env rustx"), []);
}

#[test]
fn deep_nesting_of_any_kind_never_overflows_the_stack() {
    let deep = |open: &str, inner: &str, close: &str, levels: usize| {
        format!(
            "fn f() {{ let x = {}{inner}{}; }}",
            open.repeat(levels),
            close.repeat(levels)
        )
    };
    for levels in [100, 1_500, 50_000] {
        let cases = [
            deep("(", "1", ")", levels),
            deep("{", "1", "}", levels),
            deep("[", "1", "]", levels),
            deep("!", "x", "", levels),
            deep("&", "x", "", levels),
            deep("if a {} else ", "{}", "", levels),
            deep("a::<", "b", ">", levels),
            deep("a + ", "1", "", levels),
            deep("", "a", ".b()", levels),
            deep("", "a", "?", levels),
            deep("|a| ", "1", "", levels),
            deep("return ", "1", "", levels),
            deep("x = ", "1", "", levels),
            deep("f(", "1", ")", levels),
            deep("vec![", "1", "]", levels),
            format!("type T = {}u8{};", "&".repeat(levels), ""),
            format!(
                "type T = {}u8{};",
                "Vec<".repeat(levels),
                ">".repeat(levels)
            ),
            format!("{}{}", "mod m {".repeat(levels), "}".repeat(levels)),
        ];
        for case in cases {
            let rules = found(&case);
            let is_too_deep = rules.iter().any(|(rule, _)| *rule == Rule::RustTooDeep);
            assert!(
                levels < 50_000 || is_too_deep,
                "{levels} × {}: {rules:?}",
                &case[..30]
            );
            assert!(
                levels > 100 || !is_too_deep,
                "{levels} × {}: {rules:?}",
                &case[..30]
            );
        }
    }
}

#[test]
fn long_files_are_not_deep() {
    let items = "fn f() { if a { b(1, 2) } match c { D => {} E => {} } }\n".repeat(2_000);
    assert_eq!(found(&items), []);
    let table = format!("const T: [u8; 20000] = [{}];", "0x0f, ".repeat(20_000));
    assert_eq!(found(&table), []);
}
