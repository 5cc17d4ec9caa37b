//! Listing schedules.

use super::book::Book;
use super::info::{ScheduleFilter, ScheduleInfo};
use crate::error::Error;

/// How many are looked at together.
const PAGE: usize = 256;

/// The schedules that a filter selects, by name.
pub(crate) async fn list(book: &Book, filter: &ScheduleFilter) -> Result<Vec<ScheduleInfo>, Error> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut after = filter.after.clone();
    while found.len() < limit {
        let names = book.names(after.as_deref(), PAGE).await?;
        for name in &names {
            // One that was deleted meanwhile is none.
            if let Some((definition, state)) = book.read(name).await? {
                let info = ScheduleInfo::new(name, &definition, &state)?;
                if filter.tenant.as_ref().is_none_or(|it| *it == info.tenant) {
                    found.push(info);
                }
            }
        }
        match names.len() {
            PAGE => after = names.last().cloned(),
            _ => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}
