//! What processes use, as Linux tells it.

use coditect_harness::RabbitMq;

/// Ticks in a second: what `sysconf(_SC_CLK_TCK)` says on every Linux.
const TICKS: f64 = 100.0;

/// The resident memory of a process in KiB.
pub(crate) fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The processor time that a process has used, in seconds.
pub(crate) fn processor(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may hold anything; user and system time are 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / TICKS
}

/// The process of a private broker.
pub(crate) async fn process_of(broker: &RabbitMq) -> u32 {
    let printed = broker.eval("list_to_integer(os:getpid()).").await.unwrap();
    printed.trim().parse().unwrap()
}
