//! What one pick costs among 10, 1,000 and 10,000 agents, and what an agent costs in memory.
//!
//! Each figure is the median of several runs and stands beside a bare `agents[i % n]` with a clone of its `Arc`, measured in
//! the same run. A pick includes the look-up, the choice, the in-flight guard and its end; by a balancer also the outcome,
//! which is learnt from. Every agent offers five capabilities, so that 10,000 of them are 50,000 entries.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use coditect_registry::{
    AgentRecord, Balancer, Capability, Filter, Incarnation, LeastConnections, Load, MemoryRegistry,
    Outcome, PeakEwma, Policy, PowerOfTwoChoices, Registration, Registry, Requirement, RoundRobin,
    Selector, Strategy, View, Weight, Weighted,
};
use tokio::time::Instant;

// Rounds are short, so that most fall between two switches of a busy machine, and the median is not about its neighbours.
const PICKS: u64 = 1_000;
const ROUNDS: u64 = 501;
const TTL: Duration = Duration::from_secs(3600);

type Answer<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Answer {
    // First, while no memory of another measurement can be used again.
    memory(10_000).await?;
    println!(
        "{:>7}  {:<20} {:>10} {:>14}",
        "agents", "selector", "ns/pick", "× bare index"
    );
    for agents in [10, 1_000, 10_000] {
        selection(agents).await?;
    }
    for agents in [10, 1_000, 10_000] {
        balancing(agents).await?;
    }
    changes(10_000).await
}

/// Prints what a pick costs with each selector.
async fn selection(agents: usize) -> Answer {
    let (_registry, view, _registrations) = filled(agents).await?;
    let requirement: Requirement = "work@^1".parse()?;
    let records = view.records();
    let bare = median(|i| {
        black_box(Arc::clone(&records[i as usize % records.len()]));
    });
    println!(
        "{agents:>7}  {:<20} {bare:>10.1} {:>14.1}",
        "(bare index)", 1.0
    );
    for selector in [
        &RoundRobin as &dyn Selector,
        &Weighted,
        &PowerOfTwoChoices,
        &PeakEwma,
        &LeastConnections,
    ] {
        let pick = median(|i| {
            black_box(view.pick(&requirement, selector, spread(i)));
        });
        println!(
            "{agents:>7}  {:<20} {pick:>10.1} {:>14.1}",
            format!("{selector:?}"),
            pick / bare
        );
    }
    // With work in flight everywhere, so that the loads differ and change.
    let mut window = std::collections::VecDeque::new();
    for i in 0..3 * agents as u64 {
        window.push_back(view.pick(&requirement, &LeastConnections, spread(i)));
    }
    let loaded = median(|i| {
        window.push_back(view.pick(&requirement, &LeastConnections, spread(i)));
        window.pop_front();
    });
    println!(
        "{agents:>7}  {:<20} {loaded:>10.1} {:>14.1}",
        "… 3 tasks at each",
        loaded / bare
    );
    Ok(())
}

/// Prints what a pick costs by each strategy after many outcomes have been learnt, one of 64 of them a failure, and what it
/// costs together with its outcome.
async fn balancing(agents: usize) -> Answer {
    for strategy in Strategy::ALL {
        // Each by itself: a view keeps the tree of least connections up once that is used.
        let (_registry, view, _registrations) = filled(agents).await?;
        let requirement: Requirement = "work@^1".parse()?;
        let balancer = Balancer::new(view).with_usual(Policy::new(strategy));
        let start = Instant::now();
        let mut step = |i: u64| {
            let random = spread(i);
            let now = start + Duration::from_micros(10 * i);
            let choice = balancer.pick(&requirement, now, random);
            let outcome = match random % 64 {
                0 => Outcome::Failed,
                _ => Outcome::Succeeded,
            };
            if let Some(choice) = black_box(choice) {
                choice.done(outcome, Duration::from_millis(10 + random % 10));
            }
        };
        let whole = median(&mut step);
        let worst = worst(&mut step);
        let after = start + Duration::from_secs(60);
        let pick = median(|i| {
            black_box(balancer.pick(&requirement, after, spread(i)));
        });
        let name = format!("balancer {strategy}");
        println!(
            "{agents:>7}  {name:<26} {pick:>7.1} ns/pick {whole:>8.1} ns with outcome, p99.9 {worst:.0} ns"
        );
    }
    Ok(())
}

/// Prints what the registry, and then a view, keep for each agent.
async fn memory(agents: usize) -> Answer {
    let before = resident()?;
    let registry = Arc::new(MemoryRegistry::new());
    let registrations = register(&registry, agents).await?;
    let registered = resident()?;
    let view = View::follow(Arc::clone(&registry) as _).await?;
    drop(view.pick(&"work@^1".parse()?, &LeastConnections, 0));
    let viewed = resident()?;
    let per_agent = |bytes: u64| bytes as f64 / agents as f64;
    println!(
        "bytes per registered agent: {:.0}",
        per_agent(registered.saturating_sub(before))
    );
    println!(
        "bytes per agent in a view:  {:.0}",
        per_agent(viewed.saturating_sub(registered))
    );
    let balancer = Balancer::new(view.clone());
    for i in 0..20 * agents as u64 {
        if let Some(choice) = balancer.pick(&"work@^1".parse()?, Instant::now(), spread(i)) {
            choice.done(Outcome::Succeeded, Duration::from_millis(1));
        }
    }
    println!(
        "bytes per agent in a view with a balancer: {:.0}",
        per_agent(resident()?.saturating_sub(registered))
    );
    let started = Instant::now();
    let catalogue = black_box(view.catalogue(&Filter::all()));
    println!(
        "catalogue of {} entries: {:.1?}",
        catalogue.entries.len(),
        started.elapsed()
    );
    drop(registrations);
    Ok(())
}

/// Prints what a heartbeat costs the registry together with the view that hears of it.
async fn changes(agents: usize) -> Answer {
    let (registry, view, registrations) = filled(agents).await?;
    drop(view.pick(&"work@^1".parse()?, &LeastConnections, 0));
    let started = Instant::now();
    for round in 1..=5 {
        for (i, registration) in registrations.iter().enumerate() {
            let load = Load::new(round + i as u32 % 7, 64);
            registry
                .renew(registration, load, coditect_registry::Health::Ready)
                .await?;
        }
        while view.sequence() < registry.sequence() {
            tokio::task::yield_now().await;
        }
    }
    let each = started.elapsed().as_nanos() as f64 / (5 * agents) as f64;
    println!("renewal with a new load, heard by a view: {each:.0} ns");
    Ok(())
}

async fn filled(agents: usize) -> Answer<(Arc<MemoryRegistry>, View, Vec<Registration>)> {
    let registry = Arc::new(MemoryRegistry::new());
    let registrations = register(&registry, agents).await?;
    let view = View::follow(Arc::clone(&registry) as _).await?;
    Ok((registry, view, registrations))
}

async fn register(registry: &MemoryRegistry, agents: usize) -> Answer<Vec<Registration>> {
    let mut registrations = Vec::with_capacity(agents);
    for i in 0..agents {
        let capabilities = ["work", "rest", "think", "write", "read"]
            .map(|name| Capability::new(name, semver::Version::new(1, 2, 0)));
        let record = AgentRecord::new(format!("agent-{i}").parse()?, Incarnation::fresh())
            .with_capabilities(capabilities.into_iter().collect::<Result<Vec<_>, _>>()?)
            .with_endpoint(format!("10.0.{}.{}:4100", i / 256, i % 256))
            .with_weight(Weight::new(1 + i as u32 % 4)?)
            .with_load(Load::idle(64))
            .with_label("zone", format!("zone-{}", i % 3));
        registrations.push(registry.register(record, TTL).await?);
    }
    Ok(registrations)
}

/// The median over the rounds of the nanoseconds that one call takes.
fn median(mut call: impl FnMut(u64)) -> f64 {
    let mut round = |round: u64| {
        let started = Instant::now();
        (round * PICKS..(round + 1) * PICKS).for_each(&mut call);
        started.elapsed().as_nanos() as f64 / PICKS as f64
    };
    (0..ROUNDS / 10).for_each(|warm_up| {
        round(warm_up);
    });
    let mut rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// The latency below which 999 of 1,000 calls stay, each measured by itself.
fn worst(mut call: impl FnMut(u64)) -> f64 {
    let mut nanos: Vec<u128> = (0..100_000)
        .map(|i| {
            let started = Instant::now();
            call(1_000_000 + i);
            started.elapsed().as_nanos()
        })
        .collect();
    nanos.sort_unstable();
    nanos[nanos.len() * 999 / 1000] as f64
}

/// Numbers that look random, as cheap as can be (the first step of SplitMix64).
fn spread(i: u64) -> u64 {
    let mixed = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// The resident memory of this process in bytes (Linux).
fn resident() -> Answer<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes * 1024)
}
