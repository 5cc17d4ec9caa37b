//! What is read, what is refused, and that nothing panics.

use proptest::prelude::*;

use super::*;

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn read(text: &str) -> Option<String> {
    text.parse()
        .ok()
        .map(|context: TraceContext| context.traceparent())
}

#[test]
fn the_fields_of_a_traceparent_are_read() {
    let context: TraceContext = GOOD.parse().unwrap();
    assert_eq!(
        context.trace_id().to_string(),
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
    assert_eq!(context.trace_id().to_bytes()[..2], [0x4b, 0xf9]);
    assert_eq!(context.span_id().to_bytes()[..2], [0x00, 0xf0]);
    assert!(context.is_sampled());
    assert_eq!(context.flags(), 1);
    assert_eq!(context.tracestate(), None);
    assert_eq!(format!("{context:?}"), format!("TraceContext({GOOD})"));
}

#[test]
fn unknown_flags_are_cleared() {
    let with = |flags: &str| GOOD.replace("-01", &format!("-{flags}"));
    assert_eq!(read(&with("00")), Some(with("00")));
    assert_eq!(read(&with("03")), Some(with("03")));
    assert_eq!(read(&with("ff")), Some(with("03")));
    assert_eq!(read(&with("04")), Some(with("00")));
}

#[test]
fn a_later_version_is_read_as_far_as_this_one_goes() {
    let later = GOOD.replacen("00", "cc", 1);
    assert_eq!(read(&later).as_deref(), Some(GOOD));
    assert_eq!(
        read(&format!("{later}-what-follows")).as_deref(),
        Some(GOOD)
    );
    assert_eq!(read(&format!("{later}.what-follows")), None);
    assert_eq!(read(&format!("{later}0")), None);
}

#[test]
fn whatever_differs_from_the_specification_is_refused() {
    let bad = [
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
        "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
    ];
    for text in bad {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn generated_traces_differ_and_children_stay_in_theirs() {
    let (one, other) = (TraceContext::generate(), TraceContext::generate());
    assert_ne!(one.trace_id(), other.trace_id());
    assert!(one.is_sampled());
    let one = one.with_tracestate("vendor=1");
    let child = one.child();
    assert_eq!(child.trace_id(), one.trace_id());
    assert_ne!(child.span_id(), one.span_id());
    assert_eq!((child.flags(), child.tracestate()), (1, Some("vendor=1")));
}

#[test]
fn serde_keeps_the_traceparent() {
    let context: TraceContext = GOOD.parse().unwrap();
    let json = serde_json::to_string(&context).unwrap();
    assert_eq!(json, format!("{GOOD:?}"));
    assert_eq!(
        serde_json::from_str::<TraceContext>(&json).unwrap(),
        context
    );
    assert!(serde_json::from_str::<TraceContext>(r#""nonsense""#).is_err());
}

proptest! {
    #[test]
    fn every_context_is_read_as_it_was_written(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) {
        if let Some(context) = TraceContext::from_parts(trace_id, span_id, flags) {
            let written = context.traceparent();
            prop_assert_eq!(written.len(), LENGTH);
            prop_assert_eq!(written.parse(), Ok(context));
        }
    }

    #[test]
    fn whatever_is_received_never_panics_and_what_is_read_is_canonical(text in "\\PC*") {
        if let Some(written) = read(&text) {
            prop_assert_eq!(written, text);
        }
    }

    #[test]
    fn one_wrong_character_is_refused_or_changes_the_context(position in 0..LENGTH, wrong: char) {
        let mut text: Vec<char> = GOOD.chars().collect();
        prop_assume!(text[position] != wrong);
        text[position] = wrong;
        let text: String = text.into_iter().collect();
        // The version and the unknown flags are the two things that are not kept.
        let kept = (2..53).contains(&position);
        prop_assert!(read(&text).is_none_or(|read| !kept || read == text), "{text}");
    }
}
