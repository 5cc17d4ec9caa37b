//! What attributes say about an item.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Meta};

/// Whether the item exists for tests or benchmarks only.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        // `#[test]`, `#[tokio::test]`, `#[test_log::test]`, `#[bench]`, `#[rstest]`.
        let is_test = path.segments.last().is_some_and(|last| {
            [
                "test",
                "bench",
                "rstest",
                "test_case",
                "quickcheck",
                "wasm_bindgen_test",
            ]
            .iter()
            .any(|name| last.ident == name)
        });
        is_test || (path.is_ident("cfg") && requires_test(attribute))
    })
}

/// Whether the item, or the file, is documented, hidden from the documentation or excused.
pub(super) fn is_documented(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.is_ident("doc")
            || (path.is_ident("deprecated"))
            || (is_excuse(attribute) && mentions(attribute, "missing_docs"))
            || (path.is_ident("cfg_attr") && mentions(attribute, "doc"))
    })
}

/// Whether the item is `#[doc(hidden)]`, or excused from documentation with all it contains.
pub(super) fn hides_content(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        (attribute.path().is_ident("doc") && mentions(attribute, "hidden"))
            || (is_excuse(attribute) && mentions(attribute, "missing_docs"))
    })
}

/// Whether the attribute is `#[name]`, whatever its arguments.
pub(super) fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.path().is_ident(name))
}

fn is_excuse(attribute: &Attribute) -> bool {
    attribute.path().is_ident("allow") || attribute.path().is_ident("expect")
}

/// Whether a `cfg` can only hold in tests: `test`, `all(test, …)`, `any(test, fuzzing)`, but not
/// `not(test)` and not `any(test, feature = "…")`, which users can switch on.
fn requires_test(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let text = list.tokens.to_string();
    match text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .split('(')
        .next()
    {
        Some("not") => false,
        Some("any") => !text.contains("feature") && mentions(attribute, "test"),
        _ => !text.contains("not") && mentions(attribute, "test"),
    }
}

fn mentions(attribute: &Attribute, word: &str) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    contains_word(list.tokens.clone(), word)
}

fn contains_word(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => contains_word(group.stream(), word),
        _ => false,
    })
}
