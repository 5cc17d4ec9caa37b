//! The rounds against a naive model, and the order of things one by one.

use proptest::prelude::*;

use super::*;
use crate::Incarnation;

fn instances(count: usize) -> Vec<Instance> {
    let incarnation = Incarnation::from_uuid(uuid::Uuid::from_u128(1));
    (0..count)
        .map(|i| Instance::new(format!("a{i}").parse().unwrap(), incarnation))
        .collect()
}

fn missed() -> Answer {
    Answer::Missed("silence".into())
}

/// Asks one instance until it has given each of the answers; returns what was concluded.
fn ask(rounds: &mut Rounds, answers: &[Answer]) -> Vec<Option<Finding>> {
    let mut now = Instant::now();
    let mut concluded = Vec::new();
    for answer in answers {
        now = now.max(rounds.next().unwrap());
        let instance = rounds.take(now).unwrap();
        if let Some(conclusion) = rounds.conclude(&instance, answer) {
            concluded.push(conclusion.finding);
        }
        rounds.finish(&instance, now, 0);
    }
    concluded
}

#[test]
fn silence_degrades_then_evicts_and_answers_bring_back() {
    let one = instances(1);
    let mut rounds = Rounds::new(CheckPolicy::default().with_thresholds(2, 4, 2));
    rounds.look(one.iter().map(|i| (i, None)), Instant::now(), || 0);
    let concluded = ask(
        &mut rounds,
        &[
            missed(),
            Answer::Alive,
            missed(),
            missed(),
            Answer::Unasked("no broker".into()),
            missed(),
            missed(),
            missed(),
            Answer::Alive,
            missed(),
            Answer::Alive,
            Answer::Alive,
            Answer::Alive,
        ],
    );
    let expected = [Some(Finding::Degraded), Some(Finding::Evicted), None];
    assert_eq!(concluded, expected);
}

#[test]
fn a_new_checker_goes_on_where_another_has_stopped() {
    let one = instances(1);
    let mut rounds = Rounds::new(CheckPolicy::default().with_thresholds(1, 2, 2));
    let evicted = Some(Finding::Evicted);
    rounds.look(one.iter().map(|i| (i, evicted)), Instant::now(), || 0);
    assert_eq!(ask(&mut rounds, &[missed(), Answer::Alive]), []);
    assert_eq!(ask(&mut rounds, &[Answer::Alive]), [None]);
}

#[test]
fn a_conclusion_that_came_to_nothing_is_drawn_again() {
    let one = instances(1);
    let mut rounds = Rounds::new(CheckPolicy::default().with_thresholds(1, 1, 1));
    let mut now = Instant::now();
    rounds.look(one.iter().map(|i| (i, None)), now, || 0);
    for _ in 0..3 {
        now = now.max(rounds.next().unwrap());
        let instance = rounds.take(now).unwrap();
        let conclusion = rounds.conclude(&instance, &missed()).unwrap();
        assert_eq!(conclusion.finding, Some(Finding::Evicted));
        rounds.revoke(&instance, &conclusion);
        rounds.finish(&instance, now, 0);
    }
}

#[test]
fn if_most_are_silent_only_a_share_is_evicted() {
    let ten = instances(10);
    let policy = CheckPolicy::default()
        .with_thresholds(1, 1, 1)
        .with_max_evicted_share(0.3);
    let mut rounds = Rounds::new(policy);
    rounds.look(ten.iter().map(|i| (i, None)), Instant::now(), || 0);
    let concluded = ask(&mut rounds, &vec![missed(); 40]);
    let count = |finding| concluded.iter().filter(|c| **c == Some(finding)).count();
    assert_eq!((count(Finding::Evicted), count(Finding::Degraded)), (3, 7));
}

#[derive(Clone, Debug)]
enum Step {
    Look(Vec<bool>),
    Pass(u64),
    Answer(prop::sample::Index, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => prop::collection::vec(any::<bool>(), 8).prop_map(Step::Look),
        4 => (0..4000u64).prop_map(Step::Pass),
        6 => (any::<prop::sample::Index>(), 0..3u8).prop_map(|(which, answer)| Step::Answer(which, answer)),
    ]
}

proptest! {
    /// The model: who has been asked last and when; nobody twice at once, nobody too soon, and never too many.
    #[test]
    fn each_is_asked_in_its_time_and_never_too_many_at_once(
        steps in prop::collection::vec(step(), 1..150),
        concurrency in 1..4usize,
        random: u64,
    ) {
        let all = instances(8);
        let interval = Duration::from_secs(1);
        let policy = CheckPolicy::default().with_interval(interval).with_concurrency(concurrency);
        let mut rounds = Rounds::new(policy);
        let (mut now, mut random) = (Instant::now(), random);
        let mut draw = move || {
            random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) + 1;
            random
        };
        // The instances there, with the span in which each is to be asked next; none while it is being asked.
        let mut model: HashMap<Instance, Option<(Instant, Instant)>> = HashMap::new();
        for step in steps {
            match step {
                Step::Look(there) => {
                    let there: Vec<_> = all.iter().zip(there).filter_map(|(i, there)| there.then_some(i)).collect();
                    rounds.look(there.iter().map(|i| (*i, None)), now, &mut draw);
                    model.retain(|instance, _| there.contains(&instance));
                    for instance in there {
                        model.entry(instance.clone()).or_insert(Some((now, now + interval)));
                    }
                }
                Step::Pass(millis) => now += Duration::from_millis(millis),
                Step::Answer(which, answer) => {
                    let mut busy: Vec<_> = model.iter().filter(|(_, next)| next.is_none()).map(|(i, _)| i.clone()).collect();
                    busy.sort();
                    if !busy.is_empty() {
                        let instance = which.get(&busy).clone();
                        let answer = [Answer::Alive, missed(), Answer::Unasked("".into())][answer as usize].clone();
                        rounds.conclude(&instance, &answer);
                        rounds.finish(&instance, now, draw());
                        model.insert(instance, Some((now + interval * 3 / 4, now + interval * 5 / 4)));
                    }
                }
            }
            while let Some(taken) = rounds.take(now) {
                let span = model.insert(taken, None).expect("it is there");
                prop_assert!(span.expect("it is not being asked").0 <= now, "too soon");
            }
            let busy = model.values().filter(|next| next.is_none()).count();
            prop_assert!(busy <= concurrency);
            prop_assert_eq!(rounds.busy, busy);
            let overdue = model.values().flatten().any(|(_, latest)| *latest <= now);
            prop_assert!(!overdue || busy == concurrency, "somebody is forgotten");
            let evicted = rounds.instances.values().filter(|pulse| pulse.is_evicted()).count();
            prop_assert_eq!(rounds.evicted, evicted);
        }
    }
}
