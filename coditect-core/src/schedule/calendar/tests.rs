//! Known dates, and what holds for every timing.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    let at: jiff::Timestamp = text.parse().unwrap();
    Timestamp::from_millis(u64::try_from(at.as_millisecond()).unwrap())
}

fn text(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis() as i64);
    at.unwrap().to_string()
}

fn calendar(timing: &Timing) -> Calendar {
    Calendar::new(timing, 7).unwrap()
}

/// The times that follow an instant.
fn following(timing: &Timing, after: &str, count: usize) -> Vec<String> {
    let calendar = calendar(timing);
    let times = std::iter::successors(calendar.next(at(after)), |at| calendar.next(*at));
    times.take(count).map(text).collect()
}

fn berlin(expression: &str) -> Timing {
    Timing::cron(expression).with_zone("Europe/Berlin")
}

#[test]
fn a_time_of_day_that_is_left_out_comes_when_the_gap_is_over() {
    // On 2026-03-29 clocks in Berlin go from 02:00 to 03:00, at 01:00 UTC.
    let expected = [
        "2026-03-28T01:30:00Z",
        "2026-03-29T01:00:00Z",
        "2026-03-30T00:30:00Z",
    ];
    assert_eq!(
        following(&berlin("30 2 * * *"), "2026-03-27T12:00:00Z", 3),
        expected
    );
    // New York, on 2026-03-08.
    let york = Timing::cron("0 2 * * *").with_zone("America/New_York");
    let expected = ["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"];
    assert_eq!(following(&york, "2026-03-07T12:00:00Z", 2), expected);
}

#[test]
fn intervals_skip_what_is_left_out() {
    let expected = [
        "2026-03-29T00:00:00Z",
        "2026-03-29T00:30:00Z",
        "2026-03-29T01:00:00Z",
        "2026-03-29T01:30:00Z",
    ];
    assert_eq!(
        following(&berlin("*/30 * * * *"), "2026-03-28T23:59:00Z", 4),
        expected
    );
    let expected = [
        "2026-03-29T00:00:00Z",
        "2026-03-29T01:00:00Z",
        "2026-03-29T02:00:00Z",
    ];
    assert_eq!(
        following(&berlin("0 * * * *"), "2026-03-28T23:59:00Z", 3),
        expected
    );
}

#[test]
fn a_time_of_day_that_comes_twice_counts_the_first_time() {
    // On 2026-10-25 clocks in Berlin go from 03:00 back to 02:00, at 01:00 UTC.
    let expected = [
        "2026-10-24T00:30:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-26T01:30:00Z",
    ];
    assert_eq!(
        following(&berlin("30 2 * * *"), "2026-10-23T12:00:00Z", 3),
        expected
    );
    assert_eq!(
        following(&berlin("30 2 * * *"), "2026-10-25T00:45:00Z", 1),
        expected[2..]
    );
    assert_eq!(
        following(&berlin("30 2 * * *"), "2026-10-25T01:15:00Z", 1),
        expected[2..]
    );
}

#[test]
fn intervals_go_on_through_both() {
    let expected = [
        "2026-10-25T00:00:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:00:00Z",
        "2026-10-25T01:30:00Z",
        "2026-10-25T02:00:00Z",
    ];
    assert_eq!(
        following(&berlin("*/30 * * * *"), "2026-10-24T23:45:00Z", 5),
        expected
    );
}

#[test]
fn fields_mean_what_they_say() {
    for (expression, after, expected) in [
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 L * *", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"),
        (
            "15 30 8 * * *",
            "2026-01-01T08:30:15Z",
            "2026-01-02T08:30:15Z",
        ),
        (
            "0 9 * * MON-FRI",
            "2026-01-02T09:00:00Z",
            "2026-01-05T09:00:00Z",
        ),
        ("0 9 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T09:00:00Z"),
        (
            "0 0 1 JAN,JUL *",
            "2026-01-01T00:00:00Z",
            "2026-07-01T00:00:00Z",
        ),
        ("@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
    ] {
        assert_eq!(
            following(&Timing::cron(expression), after, 1),
            [expected],
            "{expression}"
        );
    }
}

#[test]
fn an_interval_counts_from_1970_plus_its_phase() {
    let hour = Duration::from_secs(3_600);
    let expected = ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"];
    assert_eq!(
        following(&Timing::every(hour), "2026-01-01T00:00:00Z", 2),
        expected
    );
    let shifted = Timing::every(hour).with_phase(hour / 12);
    assert_eq!(
        following(&shifted, "2026-01-01T00:04:59.999Z", 1),
        ["2026-01-01T00:05:00Z"]
    );
    assert_eq!(
        following(&shifted, "1970-01-01T00:00:00Z", 1),
        ["1970-01-01T00:05:00Z"]
    );
    assert_eq!(calendar(&shifted).next(Timestamp::MAX), None);
}

#[test]
fn what_lies_outside_of_its_bounds_is_left_out() {
    let bounded = |timing: Timing| {
        let timing = timing.starting_at(SystemTime::from(at("2026-01-02T00:00:00Z")));
        timing.ending_at(SystemTime::from(at("2026-01-03T00:00:00Z")))
    };
    let expected = [
        "2026-01-02T00:00:00Z",
        "2026-01-02T12:00:00Z",
        "2026-01-03T00:00:00Z",
    ];
    for timing in [
        Timing::cron("0 */12 * * *"),
        Timing::every(Duration::from_secs(12 * 3_600)),
    ] {
        assert_eq!(
            following(&bounded(timing), "2026-01-01T00:00:00Z", 9),
            expected
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    let (hour, early) = (Duration::from_secs(3_600), SystemTime::UNIX_EPOCH);
    for (timing, expected) in [
        (Timing::cron("60 * * * *"), "bad minute `60`"),
        (Timing::cron("* 25 * * *"), "bad hour `25`"),
        (Timing::cron("* * 0 * *"), "bad day `0`"),
        (Timing::cron("* * * 13 *"), "bad month `13`"),
        (Timing::cron("* * * * FOO"), "bad weekday `FOO`"),
        (Timing::cron("99 * * * * *"), "bad second `99`"),
        (Timing::cron("* 5-a * * *"), "bad hour `5-a`"),
        (Timing::cron("*/0 * * * *"), "bad minute `*/0`"),
        (Timing::cron("* * * *"), "has 4 fields"),
        (Timing::cron("* * * * * * 2026"), "has 7 fields"),
        (Timing::cron(""), "has 0 fields"),
        (Timing::cron("@sometimes"), "`@sometimes` cannot be read"),
        (Timing::cron("0 0 31 2 *"), "names no time at all"),
        (
            Timing::cron("0 0 * * *").with_zone("Europe/Berlni"),
            "time zone `Europe/Berlni`",
        ),
        (Timing::cron("0 0 * * *").with_zone(""), "time zone ``"),
        (
            Timing::cron("0 0 * * *").with_phase(hour),
            "a phase belongs to an interval",
        ),
        (
            Timing::every(hour).with_zone("UTC"),
            "a time zone belongs to a cron expression",
        ),
        (
            Timing::every(Duration::from_millis(999)),
            "the interval has 999 ms",
        ),
        (
            Timing::every(hour).with_phase(hour),
            "the phase of 3600000 ms",
        ),
        (
            Timing::every(hour)
                .starting_at(early + hour)
                .ending_at(early),
            "ends before it starts",
        ),
    ] {
        let error = Calendar::new(&timing, 0).expect_err(expected);
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        assert!(
            error.to_string().contains(expected),
            "{error} does not say: {expected}"
        );
    }
}

fn zones() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("America/New_York"),
        Just("Australia/Lord_Howe"),
        Just("Asia/Kathmandu"),
        Just("America/Sao_Paulo"),
        Just("Africa/Casablanca"),
        Just("Pacific/Apia"),
    ]
}

fn expressions() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        Just("*".to_owned()),
        (0..60_u32).prop_map(|x| x.to_string()),
        (2..30_u32).prop_map(|x| format!("*/{x}"))
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        (0..24_u32).prop_map(|x| x.to_string()),
        Just("1-3".to_owned()),
        Just("*/2".to_owned())
    ];
    let day = prop_oneof![3 => Just("*"), 1 => Just("1,15,L")];
    let weekday = prop_oneof![3 => Just("*"), 1 => Just("SUN"), 1 => Just("MON-FRI")];
    (minute, hour, day, weekday)
        .prop_map(|(minute, hour, day, weekday)| format!("{minute} {hour} {day} * {weekday}"))
}

/// Instants near changes of clocks, and anywhere.
fn instants() -> impl Strategy<Value = Timestamp> {
    let near = |text: &'static str| {
        let around = -200_000..200_000_i64;
        around.prop_map(move |seconds| {
            Timestamp::from_millis((at(text).as_millis() as i64 + seconds * 1_000) as u64)
        })
    };
    prop_oneof![
        near("2026-03-29T01:00:00Z"),
        near("2026-10-25T01:00:00Z"),
        near("2026-04-04T15:00:00Z"),
        near("2026-03-08T07:00:00Z"),
        (0..4_000_000_000_000_u64).prop_map(Timestamp::from_millis),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_next_time_is_the_same_from_wherever_one_asks(
        expression in expressions(),
        zone in zones(),
        after in instants(),
        share in 0.0..1.0_f64,
    ) {
        let calendar = calendar(&Timing::cron(&expression).with_zone(zone));
        let next = calendar.next(after).unwrap();
        prop_assert!(next > after);
        let room = next.saturating_since(after).mul_f64(share);
        let between = after.saturating_add(room);
        if between < next {
            let again = calendar.next(between).unwrap();
            prop_assert_eq!(text(again), text(next), "from {}", text(between));
        }
    }

    #[test]
    fn the_newest_are_the_last_that_came(
        expression in expressions(),
        zone in zones(),
        after in instants(),
        minutes in 0..5_000_u64,
        count in 1..20_usize,
        jitter in 0..7_200_u64,
    ) {
        let timing = Timing::cron(&expression).with_zone(zone);
        let calendar = calendar(&timing.with_jitter(Duration::from_secs(jitter)));
        let now = after.saturating_add(Duration::from_secs(minutes * 60 + 7));
        let all = std::iter::successors(calendar.next(after), |at| calendar.next(*at));
        let due: Vec<_> = all.take_while(|at| calendar.fires_at(*at) <= now).collect();
        let expected = &due[due.len().saturating_sub(count)..];
        prop_assert_eq!(calendar.newest(after, now, count), expected);
    }

    #[test]
    fn jitter_is_within_its_bounds_and_keeps_the_order(
        seconds in 1..10_000_u64,
        jitter in 0..20_000_u64,
        seed: u64,
        after in instants(),
    ) {
        let timing = Timing::every(Duration::from_secs(seconds));
        let timing = timing.with_jitter(Duration::from_secs(jitter));
        let calendar = Calendar::new(&timing, seed).unwrap();
        let one = calendar.next(after).unwrap();
        let other = calendar.next(one).unwrap();
        let fires = calendar.fires_at(one);
        prop_assert!(one <= fires && fires < other);
        prop_assert!(fires <= one.saturating_add(Duration::from_secs(jitter)));
        prop_assert_eq!(fires, calendar.fires_at(one));
    }
}
