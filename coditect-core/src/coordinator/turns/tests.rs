//! Turns against a model that looks through everything, and what is kept of those who are gone.

use proptest::prelude::*;

use super::*;

const WINDOW: usize = 2;
const TENANTS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Push {
        level: usize,
        tenant: usize,
    },
    /// Looks whose turn it is, and uses it, with the run staying or not; or not, and takes the run out.
    Turn {
        level: usize,
        who: Who,
        used: bool,
        stays: bool,
    },
    /// Takes the waiting run out whose number this is, modulo how many there are.
    Remove {
        number: usize,
    },
    Departed {
        tenant: usize,
    },
    Landed {
        tenant: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (level, tenant) = (0..LEVELS, 0..TENANTS.len());
    prop_oneof![
        4 => (level.clone(), tenant.clone()).prop_map(|(level, tenant)| Step::Push { level, tenant }),
        6 => (level, who(), any::<bool>(), any::<bool>()).prop_map(
            |(level, who, used, stays)| Step::Turn { level, who, used, stays }
        ),
        1 => (0..64_usize).prop_map(|number| Step::Remove { number }),
        2 => tenant.clone().prop_map(|tenant| Step::Departed { tenant }),
        2 => tenant.prop_map(|tenant| Step::Landed { tenant }),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![Just(Who::New), Just(Who::Open), Just(Who::All)]
}

/// A tenant, and its runs with their tickets.
type Waiting = (usize, Vec<(Ticket, u32)>);

/// The same by lists.
#[derive(Default)]
struct Model {
    /// The tenants of each level in the order of their turns.
    levels: [Vec<Waiting>; LEVELS],
    outside: [usize; TENANTS.len()],
}

impl Model {
    fn push(&mut self, level: usize, tenant: usize, ticket: Ticket, run: u32) {
        let level = &mut self.levels[level];
        match level.iter_mut().find(|(known, _)| *known == tenant) {
            Some((_, runs)) => runs.push((ticket, run)),
            None => level.push((tenant, vec![(ticket, run)])),
        }
    }

    fn next(&self, level: usize, who: Who) -> Option<(usize, Ticket, u32)> {
        let may = |tenant: usize| match who {
            Who::New => self.outside[tenant] == 0,
            Who::Open => self.outside[tenant] < WINDOW,
            Who::All => true,
        };
        let level = &self.levels[level];
        let (tenant, runs) = level.iter().find(|(tenant, _)| may(*tenant))?;
        Some((*tenant, runs[0].0, runs[0].1))
    }

    fn remove(&mut self, level: usize, tenant: usize, ticket: Ticket) {
        let level = &mut self.levels[level];
        for (_, runs) in level.iter_mut().filter(|(known, _)| *known == tenant) {
            runs.retain(|(known, _)| *known != ticket);
        }
        level.retain(|(_, runs)| !runs.is_empty());
    }

    fn put_behind(&mut self, level: usize, tenant: usize) {
        let level = &mut self.levels[level];
        if let Some(index) = level.iter().position(|(known, _)| *known == tenant) {
            let known = level.remove(index);
            level.push(known);
        }
    }

    fn waits(&self, tenant: usize) -> bool {
        let mut all = self.levels.iter().flatten();
        all.any(|(known, _)| *known == tenant)
    }
}

proptest! {
    #[test]
    fn turns_are_those_of_the_model(steps in proptest::collection::vec(step(), 1..200)) {
        let names = TENANTS.map(Arc::<str>::from);
        let mut turns = Turns::new(WINDOW);
        let mut model = Model::default();
        for (run, step) in (0_u32..).zip(steps) {
            match step {
                Step::Push { level, tenant } => {
                    let ticket = turns.push(level, &names[tenant], run);
                    model.push(level, tenant, ticket, run);
                }
                Step::Turn { level, who, used, stays } => {
                    let turn = turns.next(level, who);
                    let expected = model.next(level, who);
                    let found = turn.as_ref().map(|turn| (&*turn.tenant, turn.ticket, turn.run));
                    prop_assert_eq!(found, expected.map(|(tenant, ticket, run)| (TENANTS[tenant], ticket, run)));
                    let (Some(turn), Some((tenant, ticket, run))) = (turn, expected) else {
                        continue;
                    };
                    if !used {
                        turns.discard(&turn);
                    } else if let Some(ticket) = turns.pass(&turn, stays) {
                        model.push(level, tenant, ticket, run);
                    }
                    model.remove(level, tenant, ticket);
                    if used {
                        model.put_behind(level, tenant);
                    }
                }
                Step::Remove { number } => {
                    let all = model.levels.iter().enumerate().flat_map(|(level, tenants)| {
                        let runs = tenants.iter().flat_map(|(tenant, runs)| runs.iter().map(|run| (*tenant, run.0)));
                        runs.map(move |(tenant, ticket)| (level, tenant, ticket))
                    });
                    let all: Vec<_> = all.collect();
                    if let Some((level, tenant, ticket)) = all.get(number % all.len().max(1)).copied() {
                        turns.remove(level, &names[tenant], ticket);
                        model.remove(level, tenant, ticket);
                    }
                }
                Step::Departed { tenant } => {
                    turns.departed(&names[tenant]);
                    model.outside[tenant] += 1;
                }
                Step::Landed { tenant } if model.outside[tenant] > 0 => {
                    turns.landed(&names[tenant]);
                    model.outside[tenant] -= 1;
                }
                Step::Landed { .. } => {}
            }
            prop_assert_eq!(turns.is_empty(), model.levels.iter().all(Vec::is_empty));
            for level in 0..LEVELS {
                prop_assert_eq!(turns.has(level), model.next(level, Who::All).is_some());
            }
            let outside = model.outside.iter().filter(|outside| **outside > 0);
            prop_assert_eq!(turns.is_crowded(), outside.count() > 1);
            let known = (0..TENANTS.len()).filter(|tenant| model.waits(*tenant) || model.outside[*tenant] > 0);
            prop_assert_eq!(turns.tenants.len(), known.count());
        }
    }
}

#[test]
fn between_two_turns_of_a_flood_every_other_tenant_has_one() {
    let mut turns = Turns::new(1_000);
    let flood: Arc<str> = "flood".into();
    for run in 0..500 {
        turns.push(1, &flood, run);
    }
    let mut served = Vec::new();
    for round in 0..3 {
        for number in 0..100 {
            // It comes while others are served, and is behind those who wait, and in front of all that they ask for later.
            turns.push(1, &format!("{round}-{number}").into(), 0);
        }
        for _ in 0..101 {
            let turn = turns.next(1, Who::Open).expect("somebody waits");
            turns.pass(&turn, *turn.tenant == *flood);
            served.push(turn.tenant);
        }
    }
    let floods: Vec<_> = (0..served.len())
        .filter(|at| *served[*at] == *flood)
        .collect();
    assert_eq!(floods.len(), 3, "one in each round: {floods:?}");
    assert_eq!(turns.tenants.len(), 1, "only the flood is left");
}
