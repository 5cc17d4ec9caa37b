//! Requirements as text: what parses, what does not, and the round trip.

use proptest::prelude::*;
use semver::{BuildMetadata, Comparator, Op, Prerelease, Version};

use super::*;

fn capability(name: &str, version: &str) -> Capability {
    Capability::new(name, version.parse().unwrap()).unwrap()
}

fn requirement(text: &str) -> Requirement {
    text.parse().unwrap()
}

#[test]
fn a_bare_name_takes_every_release_but_no_pre_release() {
    assert!(requirement("summarize").matches(&capability("summarize", "0.0.1")));
    assert!(requirement("summarize").matches(&capability("summarize", "7.1.2")));
    assert!(!requirement("summarize").matches(&capability("summarize", "7.1.2-beta.1")));
    assert!(!requirement("summarize").matches(&capability("summarise", "7.1.2")));
    assert!(
        requirement("summarize@>=7.1.2-beta").matches(&capability("summarize", "7.1.2-beta.1"))
    );
}

#[test]
fn text_that_is_no_requirement_is_refused() {
    for bad in [
        "",
        "@",
        "a@",
        "@1",
        "a b@1",
        "a@x.y",
        "a@1@2",
        "a@^",
        "a@1.2.3.4",
    ] {
        assert!(bad.parse::<Requirement>().is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn in_json_it_is_one_string() {
    let json = serde_json::to_string(&requirement("summarize@^1.2, <1.9")).unwrap();
    assert_eq!(json, "\"summarize@^1.2, <1.9\"");
    assert!(serde_json::from_str::<Requirement>("\"summarize@never\"").is_err());
}

prop_compose! {
    fn comparator()(
        op in prop::sample::select(vec![Op::Exact, Op::Greater, Op::GreaterEq, Op::Less, Op::LessEq, Op::Tilde, Op::Caret]),
        major in 0..100u64,
        minor in prop::option::of(0..100u64),
        patch in prop::option::of(0..100u64),
        pre in prop::option::of("[a-z]{1,4}(\\.[1-9])?"),
    ) -> Comparator {
        let patch = minor.and(patch);
        let pre = patch.and(pre).map_or(Prerelease::EMPTY, |pre| Prerelease::new(&pre).unwrap());
        Comparator { op, major, minor, patch, pre }
    }
}

proptest! {
    #[test]
    fn display_and_parse_round_trip(
        name in "[A-Za-z0-9_-]{1,8}(\\.[A-Za-z0-9_-]{1,8}){0,3}",
        comparators in prop::collection::vec(comparator(), 0..4),
    ) {
        let requirement = Requirement::new(name.parse().unwrap(), VersionReq { comparators });
        prop_assert_eq!(&requirement.to_string().parse::<Requirement>().unwrap(), &requirement);
        let json = serde_json::to_string(&requirement).unwrap();
        prop_assert_eq!(serde_json::from_str::<Requirement>(&json).unwrap(), requirement);
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Requirement>();
    }

    #[test]
    fn an_exact_requirement_matches_its_version_alone(a in 0..3u64, b in 0..3u64, c in 0..3u64, d in 0..3u64) {
        let version = Version { major: a, minor: b, patch: 0, pre: Prerelease::EMPTY, build: BuildMetadata::EMPTY };
        let offered = capability("x", &version.to_string());
        prop_assert_eq!(requirement(&format!("x@={c}.{d}.0")).matches(&offered), (a, b) == (c, d));
    }
}
