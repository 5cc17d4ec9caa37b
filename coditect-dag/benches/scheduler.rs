//! Schedules large graphs to their end and compares with the least that any scheduler must do.
//!
//! `cargo bench -p coditect-dag`. Every task waits for three earlier ones. Two shapes: upstreams
//! from anywhere, which defeats every cache, and from among the last thousand. The hand-written
//! version knows nothing of states, attempts, classes, priorities, scopes or failures: it builds
//! the rows of downstreams, counts upstreams down and keeps a queue. Both are linear; what a task
//! costs more in a larger graph is the memory's share, and the same for both.

use std::collections::VecDeque;
use std::hint::black_box;

use coditect_dag::{
    Action, Class, Event, Options, Scheduler, TaskGraph, TaskId, TaskSpec, TaskState,
};
use tokio::time::Instant;

const UPSTREAMS: u32 = 3;
const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 5;

fn main() {
    println!(
        "{:>9} {:>9} {:>8} {:>8} {:>12} {:>12} {:>11} {:>6}",
        "tasks", "upstreams", "seconds", "ns/task", "bytes/task", "RSS/task", "by hand ns", "ratio"
    );
    for (shape, window) in [("any", u32::MAX), ("near", 1000)] {
        let costs = [10_000, 100_000, 1_000_000].map(|tasks| measure(shape, window, tasks));
        let [(ours, by_hand), _, (ours_large, by_hand_large)] = costs;
        println!(
            "{:>9} {shape:>9} a task of 1,000,000 costs {:.2} times one of 10,000, by hand {:.2} times",
            "",
            ours_large / ours,
            by_hand_large / by_hand,
        );
    }
}

/// Prints one line and returns the nanoseconds that a task costs, with us and by hand.
fn measure(shape: &str, window: u32, tasks: u32) -> (f64, f64) {
    let before = resident_bytes();
    let graph = graph(tasks, window);
    let scheduler = new_scheduler(&graph);
    let resident = resident_bytes().saturating_sub(before);
    let bytes = graph.heap_bytes() + scheduler.heap_bytes();
    drop(scheduler);

    let ours = fastest(|| schedule(&graph));
    let by_hand = fastest(|| schedule_by_hand(&graph));
    let per_task = |seconds: f64| seconds * 1e9 / f64::from(tasks);
    println!(
        "{tasks:>9} {shape:>9} {ours:>8.4} {:>8.0} {:>12.0} {:>12.0} {:>11.0} {:>6.2}",
        per_task(ours),
        bytes as f64 / f64::from(tasks),
        resident as f64 / f64::from(tasks),
        per_task(by_hand),
        ours / by_hand,
    );
    (per_task(ours), per_task(by_hand))
}

fn fastest(run: impl Fn() -> usize) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn new_scheduler(graph: &TaskGraph<()>) -> Scheduler<u8> {
    let spec = |task: TaskId, (): &()| TaskSpec::new(Class(0), (task.get() % 3) as u8);
    Scheduler::new(graph, spec, Options::default()).expect("the graph is within the limits")
}

/// From the graph to the settled run, with up to 64 attempts in flight.
fn schedule(graph: &TaskGraph<()>) -> usize {
    let mut scheduler = new_scheduler(graph);
    let mut actions = Vec::new();
    let mut in_flight = VecDeque::with_capacity(IN_FLIGHT);
    let mut apply = |scheduler: &mut Scheduler<u8>, event: &Event<u8>| {
        actions.clear();
        let applied = scheduler.apply(event, &mut actions);
        assert!(applied.is_ok_and(|applied| !applied.is_ignored()));
        matches!(actions.last(), Some(Action::RunSettled { .. }))
    };
    let mut settled = apply(&mut scheduler, &Event::Started);
    while !settled {
        while in_flight.len() < IN_FLIGHT
            && let Some((task, _)) = scheduler.peek(Class(0))
        {
            apply(&mut scheduler, &Event::Dispatched { task });
            in_flight.push_back(task);
        }
        let task = in_flight
            .pop_front()
            .expect("an open run has work in flight");
        let attempt = scheduler.attempt(task);
        settled = apply(&mut scheduler, &Event::Succeeded { task, attempt });
    }
    assert_eq!(scheduler.count(TaskState::Succeeded), graph.len());
    scheduler.count(TaskState::Succeeded)
}

fn schedule_by_hand(graph: &TaskGraph<()>) -> usize {
    let count = graph.len();
    let mut waiting = vec![0_u32; count];
    let mut first = vec![0_u32; count + 1];
    for (upstream, task) in graph.edges() {
        waiting[task.index()] += 1;
        first[upstream.index() + 1] += 1;
    }
    for i in 0..count {
        first[i + 1] += first[i];
    }
    let mut next = first.clone();
    let mut targets = vec![0_u32; graph.edge_count()];
    for (upstream, task) in graph.edges() {
        targets[next[upstream.index()] as usize] = task.get();
        next[upstream.index()] += 1;
    }
    let mut ready: VecDeque<u32> = (0..count as u32)
        .filter(|&task| waiting[task as usize] == 0)
        .collect();
    let mut done = 0;
    while let Some(task) = ready.pop_front() {
        done += 1;
        for &downstream in
            &targets[first[task as usize] as usize..first[task as usize + 1] as usize]
        {
            waiting[downstream as usize] -= 1;
            if waiting[downstream as usize] == 0 {
                ready.push_back(downstream);
            }
        }
    }
    assert_eq!(done, count);
    done
}

fn graph(tasks: u32, window: u32) -> TaskGraph<()> {
    let mut builder = TaskGraph::builder();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for task in 0..tasks {
        let id = builder.task(task.to_string(), ());
        let mut chosen = [u32::MAX; UPSTREAMS as usize];
        for i in 0..UPSTREAMS.min(task) as usize {
            let reach = window.min(task);
            while chosen[i] == u32::MAX || chosen[..i].contains(&chosen[i]) {
                // xorshift64 (Marsaglia 2003): the same graph in every run.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                chosen[i] = task - 1 - (random % u64::from(reach)) as u32;
            }
            builder.depends_on(id, TaskId::new(chosen[i]));
        }
    }
    builder.build().expect("upstreams are earlier tasks")
}

/// What the process holds in memory; 0 where the system does not say it like Linux.
fn resident_bytes() -> usize {
    const PAGE: usize = 4096;
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<usize>().ok())
        .map_or(0, |pages| pages * PAGE)
}
