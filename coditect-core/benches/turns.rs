//! What it costs to find whose turn it is, among many tenants one of which floods.
//!
//! Prints for each number of tenants the nanoseconds of a pick, ours and of a ring that was written by hand and knows neither
//! priorities nor windows, and of a tenant that comes, has its turn and goes. `cargo bench -p coditect-core --bench turns`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use tokio::time::Instant;

#[allow(
    dead_code,
    unused_imports,
    reason = "the coordinator uses the rest of it"
)]
#[path = "../src/coordinator/turns/mod.rs"]
mod turns;

use turns::{Turns, Who};

const PICKS: u32 = 1_000_000;
const ROUNDS: usize = 5;
/// How many runs the tenant has that floods; all others have one.
const FLOOD: u64 = 10_000;
const WINDOW: usize = 256;

fn main() {
    println!(
        "{:>8} {:>10} {:>12} {:>6} {:>17}",
        "tenants", "ns a pick", "by hand ns", "ratio", "comes and goes ns"
    );
    for tenants in [10, 1_000, 10_000] {
        let ours = fastest(|| picks(&mut turns(tenants)));
        let by_hand = fastest(|| picks_by_hand(&mut ring(tenants)));
        let new = fastest(|| comes_and_goes(&mut turns(tenants)));
        println!(
            "{tenants:>8} {ours:>10.0} {by_hand:>12.0} {:>6.2} {new:>17.0}",
            ours / by_hand
        );
    }
}

fn turns(tenants: u64) -> Turns<u64> {
    let mut turns = Turns::new(WINDOW);
    let flood: Arc<str> = "flood".into();
    for run in 0..FLOOD {
        turns.push(1, &flood, run);
    }
    for number in 1..tenants {
        turns.push(1, &format!("tenant-{number}").into(), FLOOD + number);
    }
    turns
}

fn picks(turns: &mut Turns<u64>) {
    for _ in 0..PICKS {
        if let Some(turn) = turns.next(1, Who::Open) {
            turns.pass(black_box(&turn), true);
        }
    }
}

fn comes_and_goes(turns: &mut Turns<u64>) {
    let guest: Arc<str> = "guest".into();
    for _ in 0..PICKS {
        turns.push(1, &guest, 0);
        if let Some(turn) = turns.next(1, Who::Open) {
            turns.pass(black_box(&turn), turn.tenant != guest);
        }
    }
}

type Ring = VecDeque<(Arc<str>, VecDeque<u64>)>;

fn ring(tenants: u64) -> Ring {
    let others = (1..tenants).map(|number| {
        let runs = VecDeque::from([FLOOD + number]);
        (format!("tenant-{number}").into(), runs)
    });
    std::iter::once(("flood".into(), (0..FLOOD).collect()))
        .chain(others)
        .collect()
}

fn picks_by_hand(ring: &mut Ring) {
    for _ in 0..PICKS {
        if let Some((tenant, mut runs)) = ring.pop_front() {
            if let Some(run) = runs.pop_front() {
                runs.push_back(black_box(run));
            }
            ring.push_back((tenant, runs));
        }
    }
}

/// The nanoseconds of one of them, in the fastest of several rounds.
fn fastest(mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        round();
        begun.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min) * 1e9 / f64::from(PICKS)
}
