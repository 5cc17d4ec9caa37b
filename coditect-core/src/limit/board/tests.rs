//! The board against a model that deals out one by one, and partitions that work by it.

use proptest::prelude::*;

use super::*;

const PARTITIONS: u16 = 5;

/// Deals the limit out one by one.
fn dealt(board: &Board, limit: u32) -> BTreeMap<u16, u32> {
    let mut parts: BTreeMap<u16, u32> = board.shares.keys().map(|it| (*it, 0)).collect();
    for _ in 0..limit {
        let can_use = board
            .shares
            .iter()
            .filter(|(partition, share)| parts[*partition] < share.held + share.wants);
        let next = can_use.min_by_key(|(partition, share)| {
            let dealt = parts[*partition];
            match dealt {
                0 if share.held > 0 => (dealt, true, u64::MAX - share.turn, **partition),
                _ => (dealt, false, share.turn, **partition),
            }
        });
        let Some((partition, _)) = next else { break };
        *parts.get_mut(partition).unwrap() += 1;
    }
    parts
}

fn ask(partition: u16, token: u64, in_use: u32, keeps: u32, wants: u32) -> Ask {
    Ask {
        partition,
        token,
        in_use,
        keeps,
        wants,
    }
}

proptest! {
    #[test]
    fn parts_are_those_of_the_naive_model_and_nothing_is_raised_beyond_the_limit(
        steps in prop::collection::vec(
            (0..PARTITIONS, 0..4_u64, 0..8_u32, 0..12_u32, 0..8_u32, 1..16_u32),
            1..80,
        ),
    ) {
        let mut board = Board::default();
        let mut tokens = [0_u64; PARTITIONS as usize];
        for (partition, token, in_use, keeps, wants, limit) in steps {
            let before = board.clone();
            let held = |board: &Board| board.shares.get(&partition).map_or(0, |share| share.held);
            let asked = ask(partition, token, in_use, keeps, wants);
            let known = &mut tokens[usize::from(partition)];
            if !before.has(partition) {
                *known = 0;
            }
            let Ok((given, called)) = board.ask(limit, asked) else {
                prop_assert!(token < *known);
                prop_assert_eq!(&board, &before, "a former owner changes nothing");
                continue;
            };
            prop_assert!(token >= *known);
            *known = token;
            prop_assert_eq!(held(&board), given.held);
            prop_assert!(given.held >= in_use, "what is open is held");
            let kept = held(&before).min(keeps).max(in_use);
            let all = board.held();
            if given.held > kept {
                prop_assert!(all <= u64::from(limit), "{all} are held of {limit}");
                prop_assert!(given.held - kept <= wants);
            }
            prop_assert_eq!(given.is_over, all > u64::from(limit));
            let parts = board.parts(limit);
            prop_assert_eq!(&parts, &dealt(&board, limit));
            prop_assert!(parts.values().sum::<u32>() <= limit);
            prop_assert!(!called.contains(&partition));
            // What is free is for whoever stands first, who is told of it.
            if all < u64::from(limit) {
                let waits = board.shares.iter().filter(|(other, share)| {
                    share.wants > 0 && share.held < parts[*other]
                });
                if let Some((first, _)) = waits.min_by_key(|(_, share)| share.turn) {
                    prop_assert!(*first != partition, "what was free was not taken");
                    prop_assert!(called.contains(first));
                }
            }
            let none = board.shares.values().all(|share| share.held + share.wants > 0);
            prop_assert!(none, "of whoever has nothing nothing is kept");
        }
    }

    /// Partitions with endless work, of which each asks whenever it is called or something of its own ends.
    #[test]
    fn whoever_always_has_more_to_do_leaves_turns_to_all_others(
        limit in 1..8_u32,
        wants in prop::collection::vec(1..6_u32, PARTITIONS as usize),
        picks in prop::collection::vec(0..64_usize, 400),
    ) {
        let mut board = Board::default();
        let mut holds = vec![0_u32; PARTITIONS.into()];
        let mut parts = vec![0_u32; PARTITIONS.into()];
        let mut turns = vec![0_u32; PARTITIONS.into()];
        let mut calls: Vec<u16> = (0..PARTITIONS).collect();
        let mut answered = 0;
        for pick in picks {
            // Whoever was called comes sooner or later; else an attempt of somebody ends.
            let busy: Vec<_> = (0..PARTITIONS).filter(|it| holds[usize::from(*it)] > 0).collect();
            prop_assert!(!(calls.is_empty() && busy.is_empty()), "everybody waits, and nobody works");
            let me = if !calls.is_empty() && (pick % 2 == 0 || busy.is_empty()) {
                answered += 1;
                prop_assert!(answered < 64, "they call each other without end");
                calls.remove(0)
            } else {
                let me = busy[pick % busy.len()];
                (answered, holds[usize::from(me)]) = (0, holds[usize::from(me)] - 1);
                me
            };
            let index = usize::from(me);
            let running = holds[index];
            let held = board.shares.get(&me).map_or(0, |share| share.held);
            let need = running + wants[index];
            let keeps = held.min(need).min(parts[index].max(running));
            let (given, called) = board
                .ask(limit, ask(me, 1, running, keeps, need.saturating_sub(keeps)))
                .unwrap();
            turns[index] += given.held - keeps.max(running);
            // It works with all it has at once.
            (holds[index], parts[index]) = (given.held, given.part);
            let called: Vec<_> = called.into_iter().filter(|one| !calls.contains(one)).collect();
            calls.extend(called);
            prop_assert!(holds.iter().sum::<u32>() <= limit);
        }
        prop_assert!(turns.iter().all(|turns| *turns > 0), "{turns:?}");
    }
}

#[test]
fn one_that_cannot_be_divided_goes_round() {
    let mut board = Board::default();
    let (given, _) = board.ask(1, ask(0, 1, 0, 0, 5)).unwrap();
    assert_eq!((given.held, given.is_contested), (1, false));
    for partition in 1..3 {
        let (given, called) = board.ask(1, ask(partition, 1, 0, 0, 5)).unwrap();
        assert_eq!((given.held, given.part), (0, u32::from(partition == 1)));
        assert!(
            called.contains(&0),
            "whoever holds it hears of those who wait"
        );
    }
    // Its attempt has ended, and it has more.
    let (given, called) = board.ask(1, ask(0, 1, 0, 0, 5)).unwrap();
    assert_eq!((given.held, called), (0, vec![1]));
    let (given, _) = board.ask(1, ask(1, 1, 0, 0, 5)).unwrap();
    assert_eq!(given.held, 1);
    let (_, called) = board.ask(1, ask(1, 1, 0, 0, 5)).unwrap();
    assert_eq!(called, [2]);
}

#[test]
fn a_later_owner_takes_a_share_over_and_the_former_changes_it_no_more() {
    let mut board = Board::default();
    board.ask(4, ask(0, 7, 0, 0, 3)).unwrap();
    assert_eq!(board.adopt(0, 9), Ok(3));
    assert_eq!(board.adopt(0, 7), Err(Stale));
    assert_eq!(board.ask(4, ask(0, 7, 0, 0, 0)), Err(Stale));
    let (given, _) = board.ask(4, ask(0, 9, 0, 0, 0)).unwrap();
    assert_eq!(given.held, 0);
    assert!(board.is_empty());
    assert_eq!(board.adopt(0, 7), Ok(0));
}

#[test]
fn a_lowered_limit_drains() {
    let mut board = Board::default();
    board.ask(8, ask(0, 1, 0, 0, 8)).unwrap();
    let (given, _) = board.ask(2, ask(0, 1, 8, 8, 1)).unwrap();
    assert_eq!((given.held, given.part, given.is_over), (8, 2, true));
    let (given, _) = board.ask(2, ask(0, 1, 2, 2, 1)).unwrap();
    assert_eq!((given.held, given.is_over), (2, false));
}
