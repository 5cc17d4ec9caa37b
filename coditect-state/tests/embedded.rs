//! Processes that share a file, and processes that are killed while they write to it.
//!
//! The seed of the kills is `CODITECT_TEST_SEED`, a fixed one otherwise; `CODITECT_TEST_KILLS` says how many there are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use coditect_state::key::Subspace;
use coditect_state::{EmbeddedStore, Error, ErrorKind, Range, Result, StateStore, TransactionExt};

/// Names the file to a process that this one starts.
const FILE: &str = "CODITECT_TEST_STATE_FILE";

const WRITERS: u32 = 6;

/// Is SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Starts this test executable again, to run one of the functions that are named `child_…`.
fn start(child: &str, file: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([child, "--exact", "--nocapture", "--test-threads=1"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Commits one step of a writer: an entry in two places, its count, and a place in the order of all commits.
async fn step(store: &EmbeddedStore, writer: u32, number: u32) -> Result<()> {
    let name = format!("{writer}/{number:06}");
    let mut tx = store.begin().await?;
    let count = tx
        .get_json::<u32>(format!("count/{writer}").as_bytes())
        .await?;
    let count = count.unwrap_or(0) + 1;
    // Values of many sizes, so that pages are split and freed.
    let value = Bytes::from(vec![writer as u8; (number as usize * 37) % 3_000]);
    tx.set(format!("a/{name}").as_bytes(), value.clone())?;
    tx.set(format!("b/{name}").as_bytes(), value)?;
    if number % 5 == 4 {
        tx.clear_range(b"scratch/", b"scratch0")?;
    }
    tx.set(format!("scratch/{name}").as_bytes(), vec![1; 500].into())?;
    tx.set_json(format!("count/{writer}").as_bytes(), &count)?;
    tx.set_stamped_key(Subspace::new(&("log",)).stamped(&(), 0), name.into())?;
    tx.commit().await.map(|_| ())
}

/// Writes until it is killed, and says what was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes() {
    let Some(file) = env::var_os(FILE) else {
        return;
    };
    let store = EmbeddedStore::open(Path::new(&file)).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let count = store
                .begin()
                .await?
                .get_json(format!("count/{writer}").as_bytes())
                .await?;
            for number in count.unwrap_or(0).. {
                step(&store, writer, number).await?;
                let line = format!("\nanswered {writer} {number}\n");
                // One write, so that lines are whole; the pipe keeps it when this process is gone.
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
            Ok::<_, Error>(())
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap().unwrap();
    }
}

/// Reads what the process says until it has said enough, kills it, and returns how many steps of each writer were answered.
fn kill_after(mut child: Child, lines: u64, pause: u64, answered: &mut [u32]) {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut seen = 0;
    let mut line = String::new();
    while seen < lines && output.read_line(&mut line).unwrap() > 0 {
        seen += u64::from(note(&line, answered));
        line.clear();
    }
    // It waits for nothing: it moves the kill to another place within a commit.
    (0..pause).for_each(|_| std::hint::spin_loop());
    child.kill().unwrap();
    child.wait().unwrap();
    while output.read_line(&mut line).unwrap() > 0 {
        note(&line, answered);
        line.clear();
    }
}

fn note(line: &str, answered: &mut [u32]) -> bool {
    let Some(rest) = line.strip_prefix("answered ") else {
        return false;
    };
    // A line that was cut off by the kill was not said.
    let Some((writer, number)) = rest
        .strip_suffix('\n')
        .and_then(|rest| rest.split_once(' '))
    else {
        return false;
    };
    let (writer, number): (usize, u32) = (writer.parse().unwrap(), number.parse().unwrap());
    answered[writer] = answered[writer].max(number + 1);
    true
}

/// Checks that every answered step is there, none by halves, and no hole in the order of any writer.
async fn check(file: &Path, answered: &[u32], place: &str) -> Vec<u32> {
    let store = EmbeddedStore::open(file).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let mut keys = async |prefix: &str| {
        let range = Range::prefix(prefix.as_bytes());
        let entries = tx.range_all(range).await.unwrap().into_iter();
        let entries = entries.map(|entry| (entry.key.slice(prefix.len()..), entry.value));
        entries.collect::<Vec<_>>()
    };
    let (a, b) = (keys("a/").await, keys("b/").await);
    assert!(a == b, "{place}: half a transaction");
    let log = Subspace::new(&("log",));
    let log = tx.range_all(log.range()).await.unwrap();
    let mut next = vec![0; answered.len()];
    for entry in &log {
        let name = std::str::from_utf8(&entry.value).unwrap();
        let (writer, number) = name.split_once('/').unwrap();
        let (writer, number): (usize, u32) = (writer.parse().unwrap(), number.parse().unwrap());
        assert_eq!(number, next[writer], "{place}: writer {writer}");
        next[writer] += 1;
    }
    assert_eq!(log.len(), a.len(), "{place}: half a transaction");
    for (writer, (there, answered)) in next.iter().zip(answered).enumerate() {
        assert!(
            there >= answered,
            "{place}: writer {writer} has {there} of {answered} answered"
        );
        let count = tx
            .get_json::<u32>(format!("count/{writer}").as_bytes())
            .await;
        assert_eq!(
            count.unwrap().unwrap_or(0),
            *there,
            "{place}: writer {writer}"
        );
    }
    drop(tx);
    store.close().await.unwrap();
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_nothing_that_was_answered() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("CODITECT_TEST_SEED").unwrap_or(1);
    let kills = number("CODITECT_TEST_KILLS").unwrap_or(40);
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut file = directory.path().join("0");
    let mut answered = vec![0; WRITERS as usize];
    for kill in 0..kills {
        // Now and then a new file, since creating one can be cut off as well.
        if kill % 10 == 0 {
            file = directory.path().join(kill.to_string());
            answered.fill(0);
        }
        let place = format!("seed {seed}, kill {kill}");
        let lines = random.below(4) * random.below(60);
        let pause = random.below(2_000_000);
        kill_after(start("child_writes", &file), lines, pause, &mut answered);
        answered = check(&file, &answered, &place).await;
    }
}

/// Tries to open a file that another process has open, and says what came of it.
#[tokio::test]
async fn child_opens() {
    let Some(file) = env::var_os(FILE) else {
        return;
    };
    let word = match EmbeddedStore::open(Path::new(&file)).await {
        Ok(_) => "opened".to_owned(),
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            std::error::Error::source(&error).unwrap().to_string()
        }
        Err(error) => format!("{error:?}"),
    };
    println!("\nsaid: {word}");
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.lines().find_map(|line| line.strip_prefix("said: "));
    said.unwrap_or_else(|| panic!("it said nothing: {text}"))
        .to_owned()
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() -> Result<()> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    let store = EmbeddedStore::open(&file).await?;
    let second = said(start("child_opens", &file));
    assert!(second.ends_with("is open in another process"), "{second}");
    store.close().await?;
    assert_eq!(said(start("child_opens", &file)), "opened");
    Ok(())
}
