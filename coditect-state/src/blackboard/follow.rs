//! Being told of what changes on the blackboard.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::Blackboard;
use crate::error::Result;
use crate::range::{Entry, Range};
use crate::transaction::from_json;
use crate::watch::Watch;

/// Waits for changes of one value.
pub struct BlackboardWatch<T> {
    board: Blackboard,
    name: String,
    watch: Watch,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send> BlackboardWatch<T> {
    pub(super) fn new(board: Blackboard, name: &str, watch: Watch) -> Self {
        Self {
            board,
            name: name.to_owned(),
            watch,
            value: PhantomData,
        }
    }

    /// Waits for a change and returns the value after it, `None` if it was removed.
    ///
    /// Several changes in a row may be seen as one, with the last value.
    ///
    /// # Errors
    ///
    /// As [`Watch::changed`] and [`Blackboard::get`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, nothing is lost; dropped while it reads, the change is reported no more:
    /// [`get`](Blackboard::get) has it.
    pub async fn changed(&mut self) -> Result<Option<T>> {
        self.watch.changed().await?;
        self.board.get(&self.name).await
    }
}

impl<T> fmt::Debug for BlackboardWatch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlackboardWatch")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Gives the entries of a list one by one, those that are there and those that come.
pub struct BlackboardFollow<T> {
    board: Blackboard,
    /// What has not been read yet.
    rest: Range,
    watch: Watch,
    read: VecDeque<Entry>,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send> BlackboardFollow<T> {
    pub(super) fn new(board: Blackboard, rest: Range, watch: Watch) -> Self {
        Self {
            board,
            rest,
            watch,
            read: VecDeque::new(),
            value: PhantomData,
        }
    }

    /// Returns the next entry, waiting for it if need be.
    ///
    /// # Errors
    ///
    /// As [`Watch::changed`] and [`Blackboard::get`]. An entry that is no `T` is an error once, then passed over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: an entry that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Result<T> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                return from_json(&entry.value);
            }
            // The watch may have been told of entries that the last page held; then this page is empty and the
            // wait below is the next one. It was registered before the first read, so nothing is missed.
            let page = self.board.page(&self.rest).await?;
            match page.entries.last() {
                Some(last) => self.rest = self.rest.after(&last.key),
                None => {
                    self.watch.changed().await?;
                    continue;
                }
            }
            self.read.extend(page.entries);
        }
    }
}

impl<T> fmt::Debug for BlackboardFollow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlackboardFollow")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}
