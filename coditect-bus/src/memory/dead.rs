//! The dead letters of one queue, bounded in number.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::backlog::Stored;
use crate::{
    DeadLetter, DeadLetterCursor, DeadLetterFilter, DeadLetterPage, DeadLetterReason, Destination,
    Page, QueueName,
};

#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    letters: VecDeque<(u64, DeadLetter)>,
    /// Number of the next letter; it never falls, so that cursors stay true while letters leave.
    sequence: u64,
}

impl DeadLetters {
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Sets a message aside, and returns the oldest one if there are more than `max` now.
    pub(super) fn push(&mut self, letter: DeadLetter, max: usize) -> Option<DeadLetter> {
        self.letters.push_back((self.sequence, letter));
        self.sequence += 1;
        if self.letters.len() <= max {
            return None;
        }
        self.letters.pop_front().map(|(_, oldest)| oldest)
    }

    pub(super) fn page(&self, filter: &DeadLetterFilter, page: Page) -> DeadLetterPage {
        let from = page.from.map_or(0, |cursor| cursor.0);
        let start = self.letters.partition_point(|(number, _)| *number < from);
        let mut chosen = self
            .letters
            .range(start..)
            .filter(|(_, letter)| filter.matches(letter));
        let letters = chosen
            .by_ref()
            .take(page.limit.get())
            .map(|(_, letter)| letter.clone())
            .collect();
        DeadLetterPage {
            letters,
            next: chosen.next().map(|(number, _)| DeadLetterCursor(*number)),
        }
    }

    /// Takes at most `limit` of the chosen letters out, the oldest first.
    pub(super) fn take(&mut self, filter: &DeadLetterFilter, limit: usize) -> Vec<DeadLetter> {
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.letters.len());
        for (number, letter) in std::mem::take(&mut self.letters) {
            if taken.len() < limit && filter.matches(&letter) {
                taken.push(letter);
            } else {
                kept.push_back((number, letter));
            }
        }
        self.letters = kept;
        taken
    }
}

/// Writes down why a message is set aside.
pub(super) fn letter(
    queue: &QueueName,
    stored: Stored,
    deliveries: u32,
    reason: DeadLetterReason,
) -> DeadLetter {
    let now = SystemTime::now();
    DeadLetter {
        queue: queue.clone(),
        destination: stored
            .destination
            .unwrap_or_else(|| Destination::Queue(queue.clone())),
        envelope: stored.envelope,
        reason,
        deliveries,
        first_failed_at: stored.first_failed_at.unwrap_or(now),
        dead_lettered_at: now,
    }
}
