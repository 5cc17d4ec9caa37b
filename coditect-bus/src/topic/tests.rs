//! Checks the parser's refusals and the matcher against a naive model.

use proptest::prelude::*;

use super::*;

/// The definition, word for word: `#` absorbs none, or one and stays.
fn naive(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern, words) {
        ([], []) => true,
        (["#", rest @ ..], []) => naive(rest, &[]),
        (["#", rest @ ..], [_, tail @ ..]) => naive(rest, words) || naive(pattern, tail),
        (["*", rest @ ..], [_, tail @ ..]) => naive(rest, tail),
        ([expected, rest @ ..], [word, tail @ ..]) => expected == word && naive(rest, tail),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn matching_agrees_with_the_naive_model(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#"]), 1..8),
        topic in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..8),
    ) {
        let parsed = TopicPattern::new(pattern.join(".")).unwrap();
        let matched = parsed.matches(&Topic::new(topic.join(".")).unwrap());
        prop_assert_eq!(matched, naive(&pattern, &topic));
    }

    #[test]
    fn a_topic_as_a_pattern_matches_exactly_itself(a in "[ab]{1,2}(\\.[ab]{1,2}){0,3}", b in "[ab]{1,2}(\\.[ab]{1,2}){0,3}") {
        let (a, b) = (Topic::new(a).unwrap(), Topic::new(b).unwrap());
        let pattern = TopicPattern::from(a.clone());
        prop_assert!(pattern.is_literal());
        prop_assert_eq!(pattern.matches(&b), a == b);
    }

    #[test]
    fn parsing_never_panics(text in "\\PC*") {
        let _ = (Topic::new(text.as_str()), TopicPattern::new(text.as_str()));
    }
}

#[test]
fn bad_topics_and_patterns_are_refused_with_the_reason() {
    for (text, reason) in [
        ("", "empty word"),
        ("a..b", "empty word"),
        ("a.", "empty word"),
        ("a b", "white space"),
        ("a.*", "wildcard"),
        (&"x".repeat(256), "longer than 255"),
    ] {
        let error = Topic::new(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(TopicPattern::new("a.b*").is_err());
    assert!(TopicPattern::new("##").is_err());
    assert!(TopicPattern::new("#.a.*").is_ok());
}

#[test]
fn many_wildcards_do_not_explode() {
    let pattern = TopicPattern::new(vec!["#.a"; 60].join(".")).unwrap();
    let topic = Topic::new(vec!["a"; 127].join(".")).unwrap();
    assert!(pattern.matches(&topic));
    let topic = Topic::new(format!("{}.b", vec!["a"; 120].join("."))).unwrap();
    assert!(!pattern.matches(&topic));
}
