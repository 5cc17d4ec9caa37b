//! What must hold however often somebody was killed.

use std::collections::BTreeMap;
use std::time::Duration;

use coditect_core::dag::journal::RecordKind;
use coditect_core::prelude::*;
use coditect_core::{RunFilter, RunId, RunState};
use coditect_tests::keeping;

/// How long a run may take that goes on after everything was killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Goes on with everything that the state holds: every accepted run ends as it should, and so does every other.
pub(crate) async fn check(places: &str, accepted: &[(u64, RunId)], place: &str) {
    let runtime = keeping::on(places).agent(keeping::step()).start().await;
    let runtime = runtime.unwrap_or_else(|error| panic!("{place}: {error:?}"));
    for (number, run) in accepted {
        let handle = runtime.attach::<Vec<u64>>(*run);
        let result = tokio::time::timeout(PATIENCE, handle.result()).await;
        let result = result.unwrap_or_else(|_| panic!("{place}: run {number} does not end"));
        let result = result.unwrap_or_else(|error| panic!("{place}: run {number}: {error:?}"));
        assert_eq!(result, keeping::result(*number), "{place}: run {number}");
    }
    let runs = runtime.runs(RunFilter::default()).await.expect("a list");
    let mut numbers = BTreeMap::new();
    for run in &runs {
        let handle = runtime.attach::<Vec<u64>>(run.run);
        let settled = tokio::time::timeout(PATIENCE, handle.settled()).await;
        let settled = settled.unwrap_or_else(|_| panic!("{place}: {} does not end", run.run));
        let state = settled.expect("it is known").state;
        assert_eq!(state, RunState::Succeeded, "{place}: {}", run.run);
        let twin = numbers.insert(&run.labels[keeping::NUMBER], run.run);
        assert_eq!(twin, None, "{place}: two runs of one key");
        completed_once(&runtime, run.run, place).await;
    }
    assert!(runs.len() >= accepted.len(), "{place}: {} runs", runs.len());
    runtime.shutdown().await.expect("nothing runs");
}

/// No completion was accepted twice, and none is missing.
async fn completed_once(runtime: &Runtime, run: RunId, place: &str) {
    let log = runtime.journal().load(run).await.expect("it is read");
    let mut completions = BTreeMap::new();
    for record in log.expect("it is known").tail {
        if let RecordKind::Succeeded { task, .. } = record.kind {
            *completions.entry(task).or_insert(0) += 1;
        }
    }
    assert_eq!(completions.len(), keeping::tasks(), "{place}: {run}");
    assert!(
        completions.values().all(|count| *count == 1),
        "{place}: {run}: {completions:?}"
    );
}
