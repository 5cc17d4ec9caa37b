//! One agent of ten is ten times slower: what each strategy makes of it, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const AGENTS: usize = 10;
const SLOW: &str = "a0";
const TASKS: u64 = 20_000;
const FAST_TASK: Duration = Duration::from_millis(100);

/// What came of one simulated run.
struct Simulated {
    by_agent: BTreeMap<String, u64>,
    p50: Duration,
    p99: Duration,
}

/// Tasks arrive at random (Poisson) at 60 % of what all agents can do together. Each agent does one task at a time, in
/// order; the latency of a task is its wait in the queue and its work. All from one seed, without a clock.
async fn simulate(strategy: Strategy, seed: u64) -> Simulated {
    let (_registry, balancer, _) = balancing(AGENTS).await;
    let balancer = balancer.with_usual(Policy::new(strategy).with_ejection(None));
    let (requirement, start) = (work(), Instant::now());
    let capacity = (AGENTS as f64 - 1.0 + 0.1) / FAST_TASK.as_secs_f64();
    let between = 1.0 / (0.6 * capacity);

    let mut free_at: BTreeMap<String, Duration> = BTreeMap::new();
    let mut ends = BinaryHeap::new();
    let (mut running, mut by_agent, mut latencies) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut now = Duration::ZERO;
    for task in 0..TASKS {
        let uniform = (spread(seed ^ (2 * task + 1)) >> 11) as f64 / (1u64 << 53) as f64;
        now += Duration::from_secs_f64(-(1.0 - uniform).ln() * between);
        while let Some(&Reverse((end, done))) = ends.peek()
            && end <= now
        {
            ends.pop();
            let (choice, latency): (Choice, Duration) = running.remove(&done).unwrap();
            choice.done(Outcome::Succeeded, latency);
        }
        let random = spread(seed.rotate_left(32) ^ (2 * task));
        let choice = balancer.pick(&requirement, start + now, random).unwrap();
        let agent = choice.instance().agent.to_string();
        let work = if agent == SLOW {
            10 * FAST_TASK
        } else {
            FAST_TASK
        };
        let free = free_at.entry(agent.clone()).or_default();
        *free = (*free).max(now) + work;
        let latency = *free - now;
        ends.push(Reverse((*free, task)));
        running.insert(task, (choice, latency));
        *by_agent.entry(agent).or_default() += 1;
        latencies.push(latency);
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize];
    Simulated {
        by_agent,
        p50: at(0.5),
        p99: at(0.99),
    }
}

/// Run with `--nocapture` to see the figures.
#[tokio::test(start_paused = true)]
async fn least_connections_beats_round_robin_when_one_agent_is_ten_times_slower() {
    for seed in [1, 2, 3] {
        let mut p99 = BTreeMap::new();
        for strategy in Strategy::ALL {
            let simulated = simulate(strategy, seed).await;
            let slow = simulated.by_agent.get(SLOW).copied().unwrap_or(0);
            let picks: Vec<u64> = simulated.by_agent.values().copied().collect();
            println!(
                "seed {seed}  {:<18} p50 {:>9.1?}  p99 {:>9.1?}  slow one {:>5.2} %  picks {picks:?}",
                strategy.as_str(),
                simulated.p50,
                simulated.p99,
                100.0 * slow as f64 / TASKS as f64,
            );
            p99.insert(strategy.as_str(), simulated.p99);
            if strategy == Strategy::RoundRobin {
                assert!(picks.iter().all(|&picks| picks == TASKS / AGENTS as u64));
            }
            if strategy == Strategy::LeastConnections {
                assert!(slow * 3 < TASKS / AGENTS as u64, "the slow one got {slow}");
            }
        }
        // Round-robin gives the slow agent ten times what it can do: its queue grows without end.
        assert!(
            p99["least-connections"] * 20 < p99["round-robin"],
            "{p99:?}"
        );
        assert!(p99["two-choices"] * 10 < p99["round-robin"], "{p99:?}");
        assert!(p99["peak-ewma"] * 20 < p99["round-robin"], "{p99:?}");
    }
}
