use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Coordinators by number, and who owns which partition.
#[derive(Clone, Debug)]
struct World {
    members: Vec<usize>,
    owners: Vec<Option<usize>>,
}

fn name(member: usize) -> String {
    format!("member-{member}")
}

impl World {
    fn roster(&self) -> Roster {
        let members = self.members.iter().map(|member| name(*member));
        let owners = self.owners.iter().map(|owner| owner.map(name));
        Roster::new(members, owners)
    }

    fn owned_by(&self, member: usize) -> Vec<Partition> {
        let owners = (0..).map(Partition::new).zip(&self.owners);
        let own = owners.filter(|(_, owner)| **owner == Some(member));
        own.map(|(partition, _)| partition).collect()
    }

    fn counts(&self) -> Vec<usize> {
        let members = self.members.iter();
        members.map(|member| self.owned_by(*member).len()).collect()
    }

    fn moves_of(&self, member: usize, roster: &Roster) -> Moves {
        moves(Sight {
            me: &name(member),
            roster,
            mine: &self.owned_by(member),
            leaving: 0,
            rescued: &[],
            forgotten: &[],
        })
    }

    /// Lets all act in turn on what was there before; whoever tries first gets what is free. Returns what moved.
    fn round(&mut self) -> usize {
        let roster = self.roster();
        let decided: Vec<_> = self
            .members
            .iter()
            .map(|member| (*member, self.moves_of(*member, &roster)))
            .collect();
        let mut moved = 0;
        for (member, moves) in decided {
            for partition in moves.give {
                self.owners[partition.index()] = None;
                moved += 1;
            }
            for partition in moves.take {
                let owner = &mut self.owners[partition.index()];
                if owner.is_none() {
                    *owner = Some(member);
                    moved += 1;
                }
            }
        }
        moved
    }
}

fn world() -> impl Strategy<Value = World> {
    (1_usize..9).prop_flat_map(|members| {
        let owner = prop_oneof![1 => Just(None), 6 => (0..members).prop_map(Some)];
        vec(owner, 1..70).prop_map(move |owners| World {
            members: (0..members).collect(),
            owners,
        })
    })
}

proptest! {
    #[test]
    fn shares_become_even_and_then_nothing_moves(mut world in world()) {
        let partitions = world.owners.len();
        let mut rounds = 0;
        while world.round() > 0 {
            rounds += 1;
            prop_assert!(rounds <= 2 * partitions + 4, "{world:?}");
        }
        let (floor, ceil) = (partitions / world.members.len(), partitions.div_ceil(world.members.len()));
        for count in world.counts() {
            prop_assert!((floor..=ceil).contains(&count), "{world:?}");
        }
    }

    #[test]
    fn nobody_takes_more_than_its_share_or_gives_what_it_needs(world in world()) {
        let roster = world.roster();
        let partitions = world.owners.len();
        let (floor, ceil) = (partitions / world.members.len(), partitions.div_ceil(world.members.len()));
        for member in &world.members {
            let moves = world.moves_of(*member, &roster);
            let has = world.owned_by(*member);
            prop_assert!(moves.take.is_empty() || has.len() + moves.take.len() <= ceil);
            prop_assert!(moves.give.is_empty() || has.len() - moves.give.len() >= floor);
            prop_assert!(moves.take.is_empty() || moves.give.is_empty());
            prop_assert!(moves.give.iter().all(|partition| has.contains(partition)));
            prop_assert!(moves.give.len() <= at_once(partitions));
            prop_assert!(moves.rescue.is_empty());
        }
        let quotas: usize = world
            .members
            .iter()
            .map(|member| quota(&roster, &name(*member), world.owned_by(*member).len()))
            .sum();
        prop_assert_eq!(quotas, partitions, "all are somebody's, and none is two's");
    }

    #[test]
    fn no_more_moves_than_one_that_comes_or_goes_makes_necessary(
        partitions in 1_usize..70,
        members in 1_usize..8,
        joins: bool,
    ) {
        let mut world = World { members: (0..members).collect(), owners: vec![None; partitions] };
        while world.round() > 0 {}
        let before = world.owners.clone();
        if joins {
            world.members.push(members);
        } else if members > 1 {
            world.members.remove(0);
            for owner in &mut world.owners {
                *owner = owner.filter(|owner| *owner != 0);
            }
        }
        while world.round() > 0 {}
        let moved = before.iter().zip(&world.owners).filter(|(was, is)| was != is).count();
        let needed = match joins {
            true => world.owned_by(members).len(),
            false => before.iter().filter(|owner| members > 1 && **owner == Some(0)).count(),
        };
        prop_assert_eq!(moved, needed, "{:?} {:?}", before, world);
    }
}

#[test]
fn a_newcomer_is_given_a_few_at_a_time() {
    let mut world = World {
        members: vec![0],
        owners: vec![Some(0); 32],
    };
    assert_eq!(world.round(), 0);
    world.members.push(1);
    let moves = world.moves_of(0, &world.roster());
    assert_eq!(moves.give.len(), 4);
    let owners = world.roster();
    let again = moves_with(&world, &owners, 3);
    assert_eq!(again.give.len(), 1, "three are on their way already");
    assert!(moves_with(&world, &owners, 4).give.is_empty());
}

fn moves_with(world: &World, roster: &Roster, leaving: usize) -> Moves {
    moves(Sight {
        me: &name(0),
        roster,
        mine: &world.owned_by(0),
        leaving,
        rescued: &[],
        forgotten: &[],
    })
}

#[test]
fn what_nobody_takes_is_taken_above_the_share_and_kept() {
    let world = World {
        members: vec![0, 1],
        owners: vec![Some(0), Some(0), None, None],
    };
    let (roster, mine) = (world.roster(), world.owned_by(0));
    let forgotten = [Partition::new(3)];
    let sight = Sight {
        me: &name(0),
        roster: &roster,
        mine: &mine,
        leaving: 0,
        rescued: &[],
        forgotten: &forgotten,
    };
    let decided = moves(sight);
    assert_eq!((decided.take, decided.rescue), (vec![], forgotten.to_vec()));
    let rescued = World {
        owners: vec![Some(0), Some(0), None, Some(0)],
        ..world
    };
    let (roster, mine) = (rescued.roster(), rescued.owned_by(0));
    let sight = Sight {
        roster: &roster,
        mine: &mine,
        rescued: &forgotten,
        forgotten: &[],
        ..sight
    };
    assert_eq!(moves(sight), Moves::default());
}

#[test]
fn whoever_is_not_known_to_be_there_counts_itself() {
    let roster = Roster::new(["b"], vec![None::<&str>; 8]);
    assert_eq!(quota(&roster, "a", 0), 4);
    assert_eq!(quota(&Roster::default(), "a", 0), 0);
}
