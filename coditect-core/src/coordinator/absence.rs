//! Attempts whose handlers wait for others: they do not count for limits until they go on, and then they come before
//! whatever has not begun.

use std::sync::Arc;

use coditect_bus::Delivery;
use coditect_dag::{Class, RunId, TaskId, Timestamp};

use super::commit::Deferred;
use super::gates::Groups;
use super::grant::Answer;
use super::owner::Owner;
use crate::wire::{self, Handler, Word};

/// What the handler of an attempt has said last.
#[derive(Debug)]
pub(super) struct Absence {
    incarnation: Arc<str>,
    handler: u64,
    step: u64,
    stands: Stands,
}

#[derive(Debug)]
enum Stands {
    /// It works, and counts.
    Here,
    /// It waits for others, as was heard; silent for so long, it counts again.
    Away { until: Timestamp },
    /// It would go on, and has its place in the line.
    InLine { place: u64, answers: Vec<Answer> },
}

impl Absence {
    pub(super) fn counts(&self) -> bool {
        matches!(self.stands, Stands::Here)
    }

    /// Its place in the line, if it has one.
    pub(super) fn place(&self) -> Option<u64> {
        match self.stands {
            Stands::InLine { place, .. } => Some(place),
            Stands::Here | Stands::Away { .. } => None,
        }
    }

    fn is_of(&self, incarnation: &Arc<str>, handler: &Handler) -> bool {
        self.handler == handler.handler && self.incarnation == *incarnation
    }

    /// Says whether something is to be believed that was said of a handler: of the same one what was said later is true, and
    /// another one of the same attempt is taken for one that was begun since.
    fn believes(&self, word: Word, incarnation: &Arc<str>, handler: &Handler) -> bool {
        match (self.is_of(incarnation, handler), word) {
            (true, Word::Waits) => handler.step >= self.step,
            (true, Word::Returns | Word::Works) => handler.step > self.step,
            // Should it be wrong, it is said no more, and the attempt counts again.
            (false, Word::Waits) => !matches!(self.stands, Stands::InLine { .. }),
            (false, Word::Returns) => matches!(self.stands, Stands::Away { .. }),
            (false, Word::Works) => true,
        }
    }
}

impl Owner {
    /// Takes in what was said of handlers that wait, or do so no longer.
    pub(super) fn heard_absence(
        &mut self,
        word: Word,
        absence: &wire::Absence,
        delivery: Delivery,
    ) {
        if word == Word::Returns {
            return self.asked_to_go_on(absence, delivery);
        }
        for handler in &absence.handlers {
            if let Some(class) = self.class_of_flight(handler) {
                self.heard_word(word, absence, handler, class, None);
            }
        }
        // What is of no run that is known here is said again, or was said in vain.
        self.deferred.push(Deferred::Ack(delivery));
    }

    fn asked_to_go_on(&mut self, absence: &wire::Absence, delivery: Delivery) {
        let envelope = delivery.envelope();
        let (&[handler], Some(claim), Some(to)) = (
            &*absence.handlers,
            absence.claim,
            envelope.reply_to().cloned(),
        ) else {
            let reason =
                "a handler that would go on is one, with a number, and says where to answer";
            return self
                .deferred
                .push(Deferred::Reject(delivery, reason.to_owned()));
        };
        let answer = Answer::new(to, envelope.correlation_id().cloned(), claim, true);
        let run = handler.attempt.run;
        let Some(active) = self.runs.get(&run) else {
            // Nothing counts of a run that has ended.
            let settled = Deferred::RefuseIfSettled(run, answer, delivery);
            return self.deferred.push(settled);
        };
        let task = handler.attempt.task;
        let scheduler = active.machine.scheduler();
        if task.index() < scheduler.len() && handler.attempt.attempt > scheduler.attempt(task) {
            return self.deferred.push(Deferred::GiveBack(delivery));
        }
        match self.class_of_flight(&handler) {
            Some(class) => {
                self.heard_word(Word::Returns, absence, &handler, class, Some(answer));
            }
            // It is over, and nothing that it does counts.
            None => self.deferred.push(Deferred::Answer(answer)),
        }
        self.deferred.push(Deferred::Ack(delivery));
    }

    /// The capability of an attempt that is under way.
    fn class_of_flight(&self, handler: &Handler) -> Option<Class> {
        let active = self.runs.get(&handler.attempt.run)?;
        let flight = active.flights.get(&handler.attempt.task)?;
        (flight.attempt == handler.attempt.attempt).then_some(flight.class)
    }

    fn heard_word(
        &mut self,
        word: Word,
        said: &wire::Absence,
        handler: &Handler,
        class: Class,
        answer: Option<Answer>,
    ) {
        let attempt = (handler.attempt.run, handler.attempt.task);
        let groups = self.groups_of(attempt.0, class);
        let known = self.gates.away.get_mut(&attempt);
        if let Some(known) = known
            && !known.believes(word, &said.incarnation, handler)
        {
            match (&mut known.stands, answer) {
                // It has asked again, as it may not have heard.
                (Stands::InLine { answers, .. }, Some(answer)) if known.step == handler.step => {
                    answers.retain(|one| !one.is_same(&answer));
                    answers.push(answer);
                }
                // It counts, or waits for others again.
                (_, Some(answer)) => self.deferred.push(Deferred::Answer(answer)),
                (_, None) => {}
            }
            return;
        }
        let known = self.gates.away.remove(&attempt);
        let counted = known.as_ref().is_none_or(Absence::counts);
        if let Some(known) = known {
            if let Some(place) = known.place() {
                self.gates.leave_line(&groups, place);
            }
            if let Stands::InLine { answers, .. } = known.stands {
                self.deferred
                    .extend(answers.into_iter().map(Deferred::Answer));
            }
        }
        if counted && word != Word::Works {
            self.gates.leave(&groups);
        }
        let stands = match (word, answer) {
            (Word::Waits, _) => {
                let until = self.now.saturating_add(said.lease());
                Stands::Away { until }
            }
            // Where it was never heard of as waiting, as after a takeover, it has a place as well.
            (Word::Returns, answer) => Stands::InLine {
                place: self.gates.line_up(&groups, attempt),
                answers: answer.into_iter().collect(),
            },
            (Word::Works, _) => {
                if !counted {
                    self.gates.enter(&groups);
                }
                Stands::Here
            }
        };
        let absence = Absence {
            incarnation: Arc::clone(&said.incarnation),
            handler: handler.handler,
            step: handler.step,
            stands,
        };
        self.gates.away.insert(attempt, absence);
    }

    /// Lets those go on for whom there is room, the first of them first.
    pub(super) fn let_them_go_on(&mut self) {
        if self.gates.line.is_empty() {
            return;
        }
        let line: Vec<_> = self.gates.line.values().copied().collect();
        for attempt in line {
            let groups = self.groups_of_attempt(attempt);
            if self.gates.let_return(&groups, self.now) {
                self.let_go_on(attempt, &groups);
            }
        }
    }

    fn let_go_on(&mut self, attempt: (RunId, TaskId), groups: &Groups) {
        let Some(absence) = self.gates.away.get_mut(&attempt) else {
            return;
        };
        let stands = std::mem::replace(&mut absence.stands, Stands::Here);
        if let Stands::InLine { place, answers } = stands {
            self.deferred
                .extend(answers.into_iter().map(Deferred::Answer));
            self.gates.leave_line(groups, place);
        }
        self.gates.enter(groups);
    }

    /// Counts those again that were to be heard of and are not: whoever comes in their place works.
    pub(super) fn count_the_silent(&mut self) {
        if self.gates.away.is_empty() {
            return;
        }
        let now = self.now;
        let is_silent = |absence: &Absence| match absence.stands {
            Stands::Away { until } => until <= now,
            Stands::Here | Stands::InLine { .. } => false,
        };
        let away = self.gates.away.iter();
        let silent = away.filter(|(_, absence)| is_silent(absence));
        let silent: Vec<_> = silent.map(|(attempt, _)| *attempt).collect();
        for attempt in silent {
            self.count_again(attempt);
        }
    }

    /// Whatever was said of an attempt, it counts: another handler may begin it.
    pub(super) fn count_again(&mut self, attempt: (RunId, TaskId)) {
        let Some(absence) = self.gates.away.remove(&attempt) else {
            return;
        };
        if absence.counts() {
            return;
        }
        let groups = self.groups_of_attempt(attempt);
        if let Stands::InLine { place, answers } = absence.stands {
            self.deferred
                .extend(answers.into_iter().map(Deferred::Answer));
            self.gates.leave_line(&groups, place);
        }
        self.gates.enter(&groups);
    }

    pub(super) fn groups_of_attempt(&self, (run, task): (RunId, TaskId)) -> Groups {
        let active = self.runs.get(&run);
        let flight = active.and_then(|active| active.flights.get(&task));
        flight.map_or_else(Groups::default, |flight| self.groups_of(run, flight.class))
    }
}
