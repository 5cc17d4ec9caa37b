//! Making a schedule of what would be submitted.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coditect_dag::Timestamp;
use serde_json::value::to_raw_value;

use super::handle::{Schedule, mark};
use super::policy::{MOST, Missed, Overlap};
use super::row::{Definition, Work};
use super::timing::{Timing, millis};
use crate::error::Error;
use crate::plan::Plan;
use crate::run::{Deadline, SubmitOptions, Submitter};

/// How far back missed occurrences are made up for.
const CATCH_UP: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a name may be, in bytes.
const LONGEST_NAME: usize = 200;

/// A schedule about to be made; awaiting it makes it.
///
/// Made by [`Submit::on_schedule`](crate::Submit::on_schedule), which has an example.
///
/// # Errors
///
/// Awaiting it fails with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), naming what is wrong with the name, the timing or the
/// policies, where there is a schedule of this name that does something else, and for all that a
/// [submission](crate::Submit) is refused for; with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store cannot be
/// reached, and with [`ErrorKind::Closed`](crate::ErrorKind::Closed) for a runtime that has shut down.
///
/// # Cancel safety
///
/// A dropped future may have made the schedule; making it again changes nothing.
#[must_use = "a schedule is made when this is awaited"]
pub struct NewSchedule<O> {
    submitter: Result<Submitter, Error>,
    plan: Result<Plan<O>, Error>,
    options: SubmitOptions,
    name: String,
    timing: Timing,
    missed: Missed,
    overlap: Overlap,
    catch_up: Duration,
    replace: bool,
}

impl<O> NewSchedule<O> {
    pub(crate) fn new(
        submitter: Result<Submitter, Error>,
        plan: Result<Plan<O>, Error>,
        options: SubmitOptions,
        name: String,
        timing: Timing,
    ) -> Self {
        Self {
            submitter,
            plan,
            options,
            name,
            timing,
            missed: Missed::default(),
            overlap: Overlap::default(),
            catch_up: CATCH_UP,
            replace: false,
        }
    }

    /// Sets what becomes of occurrences that were missed; the last one is made up for.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Sets how old a missed occurrence may be that is made up for; a day.
    pub fn catch_up(mut self, window: Duration) -> Self {
        self.catch_up = window;
        self
    }

    /// Sets what becomes of occurrences that come while an earlier run goes on; they are left out.
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Lets this be what the schedule of the name does from now on, if there is one that does something else.
    ///
    /// It keeps its history, and stays paused if it was. If its timing is another one, that counts from now: what was
    /// missed before is not made up for.
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }

    fn definition(&self, submitter: &Submitter, plan: Plan<O>) -> Result<Definition, Error> {
        check_name(&self.name)?;
        if self.options.idempotency_key.is_some() {
            let text = "a schedule gives each of its runs an idempotency key of its own";
            return Err(Error::invalid(text));
        }
        if self.options.start.is_some() {
            return Err(Error::invalid("a schedule says itself when its runs start"));
        }
        for (what, number) in [
            (
                "missed occurrences are made up for at once",
                self.missed.number(),
            ),
            ("occurrences wait", self.overlap.number()),
        ] {
            if number.is_some_and(|number| !(1..=MOST).contains(&number)) {
                let text = format!("the number of how many {what} must be from 1 to {MOST}");
                return Err(Error::invalid(text));
            }
        }
        let plan = submitter.check(plan, &self.options.limits)?;
        let plan = to_raw_value(plan.spec()).map_err(|error| {
            Error::invalid("the plan cannot be written as JSON").with_source(error)
        })?;
        let options = &self.options;
        let definition = Definition {
            id: submitter.ports().chance.run().as_uuid(),
            revision: 1,
            timing: self.timing.clone(),
            missed: self.missed,
            overlap: self.overlap,
            catch_up_ms: millis(self.catch_up),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            work: Work {
                plan: Arc::from(plan),
                tenant: options.tenant.clone(),
                labels: options.labels.clone(),
                priority: options.priority,
                limits: options.limits,
                deadline_ms: options.deadline.and_then(Deadline::span).map(millis),
            },
        };
        definition.calendar()?;
        Ok(definition)
    }
}

impl<O: Send + 'static> IntoFuture for NewSchedule<O> {
    type Output = Result<Schedule, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let plan = std::mem::replace(&mut self.plan, Err(Error::closed()))?;
            let submitter = std::mem::replace(&mut self.submitter, Err(Error::closed()))?;
            submitter.check_carried()?;
            let definition = self.definition(&submitter, plan)?;
            let ports = Arc::clone(submitter.ports());
            let mark = mark(&ports);
            let schedule = Schedule::new(self.name, ports);
            let book = schedule.book();
            book.put(schedule.name(), definition, self.replace, mark)
                .await?;
            Ok(schedule)
        })
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        let text = format!(
            "the name of a schedule has 1 to {LONGEST_NAME} bytes and no control characters, and `{}` is none",
            name.escape_debug()
        );
        return Err(Error::invalid(text));
    }
    Ok(())
}

impl<O> fmt::Debug for NewSchedule<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSchedule")
            .field("name", &self.name)
            .field("timing", &self.timing)
            .field("plan", &self.plan)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
