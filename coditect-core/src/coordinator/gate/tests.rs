//! Gates of several partitions at one board: what they do alone, and together while answers are slow, lost, or for an owner that
//! has been replaced.

use proptest::prelude::*;

use super::*;
use crate::limit::board::{Ask, Board};

const LIMIT: u32 = 4;
/// For how many milliseconds a partition waits at most while others work, whatever is lost: until it asks again by itself, and its
/// turn comes.
const LONGEST: u64 = 20_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

/// Has a gate ask, and answers at once.
fn settle(gate: &mut Gate, board: &mut Board, partition: u16, wanted: u32, now: Timestamp) -> Plan {
    let plan = gate.plan(wanted, LIMIT, now);
    if let Plan::Ask {
        in_use,
        keeps,
        wants,
    } = plan
    {
        let ask = Ask {
            partition,
            token: 1,
            in_use,
            keeps,
            wants,
        };
        let (given, _) = board.ask(LIMIT, ask).unwrap();
        gate.told(given, now);
    }
    plan
}

#[test]
fn what_is_idle_is_kept_for_a_while_and_then_given_back() {
    let (mut gate, mut board) = (Gate::default(), Board::default());
    assert!(!gate.has_room_for_new(at(0)));
    settle(&mut gate, &mut board, 0, 1, at(0));
    assert!(gate.has_room_for_new(at(0)));
    gate.enter();
    assert!(!gate.has_room_for_new(at(0)));
    gate.leave();
    let Plan::Later(until) = gate.plan(0, LIMIT, at(10)) else {
        panic!("it is kept, and looked at again");
    };
    assert_eq!(until, at(1_010));
    assert!(
        gate.has_room_for_new(at(500)),
        "who comes meanwhile need not ask"
    );
    let plan = settle(&mut gate, &mut board, 0, 0, until);
    let gives_back = Plan::Ask {
        in_use: 0,
        keeps: 0,
        wants: 0,
    };
    assert_eq!(plan, gives_back);
    assert!(board.is_empty());
    assert_eq!(gate.plan(0, LIMIT, until), Plan::Forget);
}

#[test]
fn what_is_idle_is_given_to_whoever_calls_at_once() {
    let (mut gate, mut board) = (Gate::default(), Board::default());
    settle(&mut gate, &mut board, 0, LIMIT, at(0));
    gate.enter();
    gate.plan(0, LIMIT, at(1));
    let mut other = Gate::default();
    settle(&mut other, &mut board, 1, LIMIT, at(2));
    assert!(!other.is_usable(at(2)));
    gate.call();
    settle(&mut gate, &mut board, 0, 0, at(2));
    other.call();
    settle(&mut other, &mut board, 1, LIMIT, at(2));
    for _ in 0..LIMIT - 1 {
        assert!(other.has_room_for_new(at(2)));
        other.enter();
    }
    assert!(!other.has_room_for_new(at(2)), "one is in use there");
}

#[test]
fn those_come_first_for_which_room_is_kept() {
    let (mut gate, mut board) = (Gate::default(), Board::default());
    gate.reserve();
    settle(&mut gate, &mut board, 0, 0, at(0));
    assert!(gate.has_room(at(0)));
    assert!(!gate.has_room_for_new(at(0)));
    gate.release();
    assert!(gate.has_room_for_new(at(0)));
}

#[test]
fn an_attempt_that_counts_whatever_there_is_room_for_is_told_of() {
    let (mut gate, mut board) = (Gate::default(), Board::default());
    for _ in 0..LIMIT + 2 {
        gate.enter();
    }
    settle(&mut gate, &mut board, 0, 3, at(0));
    assert_eq!(board.totals().0, u64::from(LIMIT) + 2);
    for left in (0..LIMIT + 2).rev() {
        gate.leave();
        settle(&mut gate, &mut board, 0, 3, at(10));
        assert_eq!(
            gate.has_room_for_new(at(10)),
            left < LIMIT,
            "{left} are open"
        );
    }
}

#[test]
fn a_share_of_what_the_store_does_not_limit_is_asked_for_again_later() {
    let mut gate = Gate::default();
    assert!(matches!(gate.plan(1, LIMIT, at(0)), Plan::Ask { .. }));
    gate.unlimited(at(5));
    assert_eq!(gate.plan(1, LIMIT, at(6)), Plan::Later(at(1_005)));
    assert!(matches!(gate.plan(1, LIMIT, at(1_005)), Plan::Ask { .. }));
}

/// A question on its way to the board, or its answer on the way back.
struct Way {
    ask: Ask,
    /// When the board hears of it; none if it has, or never will.
    asked: Option<u64>,
    /// When the answer comes.
    back: u64,
    /// None if the owner never hears what came of it.
    given: Option<Given>,
    is_heard: bool,
}

/// A partition, its owner, and what it does.
struct Site {
    gate: Gate,
    token: u64,
    ready: u32,
    running: Vec<u64>,
    way: Option<Way>,
    called: Option<u64>,
    look: Option<u64>,
    waits_since: Option<u64>,
}

struct World {
    limit: u32,
    board: Board,
    sites: Vec<Site>,
    /// Questions of owners that have been replaced.
    ghosts: Vec<Way>,
    random: u64,
    now: u64,
}

impl World {
    fn pick(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn apply(&mut self, way: &mut Way) {
        way.asked = None;
        let answer = self.board.ask(self.limit, way.ask).ok();
        let (given, called) = answer.unzip();
        way.given = given.filter(|_| way.is_heard);
        for partition in called.unwrap_or_default() {
            let when = self.now + self.pick(30);
            let site = &mut self.sites[usize::from(partition)];
            site.called.get_or_insert(when);
        }
    }

    /// One turn of an owner, if there is anything to do; a tick is a millisecond.
    fn turn(&mut self, partition: u16, makes_trouble: bool) {
        let index = usize::from(partition);
        let now = self.now;
        if makes_trouble && self.pick(4_000) == 0 {
            self.take_over(index);
        }
        let mut way = self.sites[index].way.take();
        if let Some(way) = &mut way
            && way.asked.is_some_and(|asked| asked <= now)
        {
            self.apply(way);
        }
        let site = &mut self.sites[index];
        let mut is_dirty = false;
        match way {
            Some(way) if way.back <= now => {
                is_dirty = true;
                match way.given {
                    Some(given) => site.gate.told(given, at(now)),
                    None => site.gate.not_told(),
                }
            }
            way => site.way = way,
        }
        if site.called.is_some_and(|called| called <= now) {
            (site.called, is_dirty) = (None, true);
            site.gate.call();
        }
        let before = site.running.len();
        site.running.retain(|ends| *ends > now);
        for _ in site.running.len()..before {
            site.gate.leave();
            is_dirty = true;
        }
        is_dirty |= site.ready > 0 && site.waits_since.is_none();
        is_dirty |= site.look.is_some_and(|look| look <= now);
        if !is_dirty {
            return;
        }
        while self.sites[index].ready > 0 && self.sites[index].gate.has_room_for_new(at(now)) {
            let ends = now + 1 + self.pick(400);
            let site = &mut self.sites[index];
            site.gate.enter();
            site.running.push(ends);
            (site.ready, site.waits_since) = (site.ready - 1, None);
        }
        let site = &mut self.sites[index];
        site.waits_since = (site.ready > 0).then_some(site.waits_since.unwrap_or(now));
        site.look = None;
        match site.gate.plan(site.ready, self.limit, at(now)) {
            Plan::Ask {
                in_use,
                keeps,
                wants,
            } => {
                let ask = Ask {
                    partition,
                    token: site.token,
                    in_use,
                    keeps,
                    wants,
                };
                let fails = makes_trouble && self.pick(20) == 0;
                let asked = now + self.pick(30);
                let is_done = !fails || self.pick(2) == 0;
                let back = asked + self.pick(30) + if fails { 1_000 } else { 0 };
                self.sites[index].way = Some(Way {
                    ask,
                    asked: is_done.then_some(asked),
                    back,
                    given: None,
                    is_heard: !fails,
                });
            }
            Plan::Later(when) => site.look = Some(when.as_millis() - at(0).as_millis()),
            Plan::Nothing | Plan::Forget => {}
        }
    }

    fn take_over(&mut self, index: usize) {
        let site = &mut self.sites[index];
        site.token += 1;
        // Whatever the former owner has asked may still come.
        self.ghosts.extend(site.way.take());
        site.gate = Gate::default();
        for _ in &site.running {
            site.gate.enter();
        }
        let partition = u16::try_from(index).unwrap();
        let held = self.board.adopt(partition, site.token).unwrap();
        site.gate.adopt(held);
        (site.look, site.waits_since) = (Some(self.now), None);
    }

    fn tick(&mut self, makes_trouble: bool) {
        self.now += 1;
        let mut ghosts = std::mem::take(&mut self.ghosts);
        for ghost in &mut ghosts {
            if ghost.asked.is_some_and(|asked| asked <= self.now) {
                self.apply(ghost);
            }
        }
        ghosts.retain(|ghost| ghost.asked.is_some());
        self.ghosts.extend(ghosts);
        for partition in 0..self.sites.len() {
            self.turn(u16::try_from(partition).unwrap(), makes_trouble);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn partitions_never_use_more_than_the_limit_together_and_each_has_its_turn(
        limit in 1..6_u32,
        partitions in 1..6_usize,
        seed in 1..u64::MAX,
    ) {
        let site = || Site {
            gate: Gate::default(),
            token: 1,
            ready: 0,
            running: Vec::new(),
            way: None,
            called: None,
            look: None,
            waits_since: None,
        };
        let mut world = World {
            limit,
            board: Board::default(),
            sites: (0..partitions).map(|_| site()).collect(),
            ghosts: Vec::new(),
            random: seed,
            now: 0,
        };
        let mut rounds = 0;
        loop {
            let comes = world.now < 20_000;
            if comes && world.pick(60) == 0 {
                let to = usize::try_from(world.pick(partitions as u64)).unwrap();
                world.sites[to].ready += 1 + u32::try_from(world.pick(8)).unwrap();
            }
            world.tick(comes);
            let running: usize = world.sites.iter().map(|site| site.running.len()).sum();
            prop_assert!(running <= limit as usize, "{running} of {limit} at {}", world.now);
            for site in &world.sites {
                let waited = site.waits_since.map_or(0, |since| world.now - since);
                prop_assert!(waited < LONGEST, "somebody waits without end at {}", world.now);
            }
            let rests = world.sites.iter().all(|site| site.ready == 0 && site.running.is_empty());
            if !comes && rests && world.board.is_empty() {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 2_000_000, "it comes to no end");
        }
    }
}
