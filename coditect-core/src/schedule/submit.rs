//! The run of an occurrence, as it is submitted.

use std::time::Duration;

use bytes::Bytes;
use coditect_dag::journal::Submission;
use coditect_telemetry::TraceContext;

use super::row::{Definition, Occurrence};
use crate::error::Error;
use crate::ports::Ports;
use crate::run::{Occasion, RunSpec, RunTerms};

/// Makes the submission of an occurrence; whoever makes it, it is the same run.
pub(crate) fn submission(
    name: &str,
    definition: &Definition,
    occurrence: &Occurrence,
    ports: &Ports,
) -> Result<Submission, Error> {
    let work = &definition.work;
    let now = ports.clock.now();
    let occasion = Occasion {
        schedule: name.into(),
        nominal: occurrence.nominal,
    };
    let deadline = work.deadline_ms.map(Duration::from_millis);
    let terms = RunTerms {
        priority: work.priority,
        deadline: deadline.map(|span| now.saturating_add(span)),
        limits: work.limits,
        occasion: Some(occasion.clone()),
        ..RunTerms::default()
    }
    .with_trace(Some(&TraceContext::generate()));
    let spec = serde_json::to_vec(&RunSpec {
        plan: &work.plan,
        terms,
    })
    .map_err(|error| Error::invalid("the run cannot be written as JSON").with_source(error))?;
    let mut submission = Submission::new(occurrence.run, Bytes::from(spec), now);
    submission.tenant = definition.tenant();
    submission.labels = work.labels.clone();
    submission.labels.extend(occasion.labels());
    let which = match occurrence.triggered {
        true => occurrence.run.to_string(),
        false => occurrence.nominal.as_millis().to_string(),
    };
    submission.idempotency_key = Some(format!(
        "coditect.schedule/{name}/{}/{which}",
        definition.id
    ));
    Ok(submission)
}
