//! Processes that are killed in the middle of their work: this test program, started again in the role of a publisher or a worker.

use std::io::{Read, Write, stdin, stdout};
use std::process::Stdio;
use std::sync::Arc;

use coditect_bus::{Envelope, MessageBus, RabbitMqBus};
use coditect_harness::{Random, seed};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::flow::{Flow, Ledger};
use super::{PATIENCE, bus_at, consumer, to_queue, vhost};

/// Says which role this process has, and where the broker is.
const ROLE: &str = "CODITECT_TEST_ROLE";
const PLACE: &str = "CODITECT_TEST_ROLE_BROKER";

/// How many messages each test sees confirmed at least.
const MESSAGES: usize = 5_000;

/// How many deliveries a worker has in hand before it acknowledges them.
const IN_HAND: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_publishers_are_killed_in_mid_flow() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let mut random = Random::seeded(seed());
    let flow = Flow::start(&bus, 0, 2);
    let mut killed = 0;
    while flow.confirmed() < MESSAGES {
        let mut publisher = Process::start("publisher", &vhost.url());
        for _ in 0..1 + random.below(1_500) {
            publisher.note(&flow.ledger).await;
        }
        publisher.kill(&flow.ledger).await;
        killed += 1;
    }
    println!("{killed} publishers killed");
    flow.end("publishers killed").await;
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_workers_are_killed_with_work_in_hand() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let seed = seed();
    let flow = Flow::start(&bus, 8, 0);
    let over = CancellationToken::new();
    let mut crews = Vec::new();
    for number in 0..2 {
        let random = Random::seeded(seed.wrapping_add(number));
        let (url, ledger, over) = (vhost.url(), Arc::clone(&flow.ledger), over.clone());
        crews.push(tokio::spawn(kill_workers(url, ledger, random, over)));
    }
    flow.until_done(MESSAGES).await;
    let ledger = Arc::clone(&flow.ledger);
    flow.end("workers killed").await;
    over.cancel();
    let mut killed = 0;
    for crew in crews {
        killed += crew.await.unwrap();
    }
    println!("{killed} workers killed");
    assert!(killed > 2, "hardly anybody was killed");
    // Each had some deliveries in hand.
    assert!(ledger.lock().redeliveries > 0);
    bus.close().await.unwrap();
}

/// Lets one worker after the other work for a while, kills it, and says how many there were.
async fn kill_workers(
    url: String,
    ledger: Arc<Mutex<Ledger>>,
    mut random: Random,
    over: CancellationToken,
) -> usize {
    let mut killed = 0;
    loop {
        let mut worker = Process::start("worker", &url);
        for _ in 0..1 + random.below(1_000) {
            let noted = over.run_until_cancelled(worker.note(&ledger)).await;
            if noted.is_none() {
                return killed;
            }
        }
        worker.kill(&ledger).await;
        killed += 1;
    }
}

/// A process in a role, and what it says.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(role: &str, url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "process::a_process_in_a_role",
                "--nocapture",
            ])
            .env(ROLE, role)
            .env(PLACE, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Notes the next thing that the process has done.
    async fn note(&mut self, ledger: &Mutex<Ledger>) {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.expect("it goes on").unwrap().expect("it lives");
            if note(&line, ledger) {
                return;
            }
        }
    }

    /// Kills the process, and notes what it had done until then.
    async fn kill(mut self, ledger: &Mutex<Ledger>) {
        // With SIGKILL: nothing of it runs any more.
        self.child.start_kill().unwrap();
        let status = self.child.wait().await.unwrap();
        assert!(!status.success(), "it was still at work");
        while let Ok(Some(line)) = self.lines.next_line().await {
            note(&line, ledger);
        }
    }
}

/// Notes what a line says, if it does. One that was cut off by the end of its process says nothing.
fn note(line: &str, ledger: &Mutex<Ledger>) -> bool {
    let words: Vec<_> = line.split(' ').collect();
    match *words {
        ["confirmed", id, "."] => ledger.lock().confirm(id.parse().unwrap()),
        ["done", id, redeliveries, "."] => {
            let redelivered = redeliveries != "0";
            ledger.lock().accept(id.parse().unwrap(), redelivered);
        }
        _ => return false,
    }
    true
}

fn say(what: &str) {
    // In one piece, so that only the end of the process can cut it off.
    let line = format!("{what} .\n");
    stdout().lock().write_all(line.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other tests of this file as a process to kill"]
async fn a_process_in_a_role() {
    // Who started this process holds the other end, so that it cannot outlive them.
    std::thread::spawn(|| {
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let role = std::env::var(ROLE).expect("started by another test");
    let url = std::env::var(PLACE).unwrap();
    let bus = bus_at(url).await;
    match role.as_str() {
        "publisher" => publish_until_killed(&bus).await,
        "worker" => work_until_killed(&bus).await,
        other => panic!("no role: {other}"),
    }
}

async fn publish_until_killed(bus: &RabbitMqBus) {
    let publishing = (0..8).map(|_| async {
        loop {
            let envelope = Envelope::new("work");
            let id = envelope.id();
            bus.publish(&to_queue(), envelope).await.unwrap();
            say(&format!("confirmed {id}"));
        }
    });
    futures::future::join_all(publishing).await;
}

async fn work_until_killed(bus: &RabbitMqBus) {
    let mut consumer = consumer(bus, 2 * IN_HAND).await;
    while let Some(first) = consumer.recv().await {
        let mut in_hand = vec![first];
        while in_hand.len() < IN_HAND
            && let Some(next) = consumer.try_recv()
        {
            in_hand.push(next);
        }
        for delivery in &in_hand {
            let id = delivery.envelope().id();
            say(&format!("done {id} {}", delivery.redeliveries()));
        }
        for delivery in in_hand {
            delivery.ack().await.unwrap();
        }
    }
}
