//! Schedules: runs that are submitted again and again, at the times of a calendar or at an interval.
//!
//! What there is to a schedule lies in the state store ([`row`], [`book`]). Whoever owns its partition decides what is due
//! ([`due`]), in a transaction that names the runs to come, and submits them then: whoever comes after it meets the same names.

mod book;
mod builder;
mod calendar;
mod clock;
mod due;
mod handle;
mod info;
mod list;
mod policy;
mod row;
mod submit;
mod timing;

pub(crate) use self::book::{Book, Stepped};
pub use self::builder::NewSchedule;
pub(crate) use self::calendar::Calendar;
pub(crate) use self::clock::CalendarClock;
pub use self::handle::Schedule;
pub use self::info::{ScheduleFilter, ScheduleInfo, ScheduleState, ScheduledRun};
pub(crate) use self::list::list;
pub use self::policy::{Missed, Overlap};
pub(crate) use self::row::{Definition, Occurrence, State};
pub(crate) use self::submit::submission;
pub use self::timing::Timing;
