//! The bar that is shown while the audit runs.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{spinner} {bar:32.cyan/dim} {human_pos}/{human_len} tasks · {per_sec} · {elapsed} · {wide_msg}";

/// A bar on standard error; it draws nothing with `--json` or where nobody looks.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar whose length is not known yet.
    pub(crate) fn start(json: bool) -> Self {
        let is_shown = !json && std::io::stderr().is_terminal();
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.expect("the template is a constant that a test parses"));
        if is_shown {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self(bar)
    }

    /// Says that `tasks` more are to be done.
    pub(crate) fn planned(&self, tasks: u64) {
        self.0.inc_length(tasks);
    }

    /// Says that one task ended, and what it was about.
    pub(crate) fn ended(&self, label: &str) {
        self.0.set_message(label.to_owned());
        self.0.inc(1);
    }

    /// Says something above the bar.
    pub(crate) fn say(&self, text: &str) {
        self.0.suspend(|| eprintln!("{text}"));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_stays_hidden_where_nobody_looks() {
        let progress = Progress::start(true);
        progress.planned(3);
        progress.ended("a.rs");
        progress.ended("b.rs");
        assert!(progress.0.is_hidden());
        assert_eq!((progress.0.position(), progress.0.length()), (2, Some(3)));
        assert_eq!(progress.0.message(), "b.rs");
        progress.finish();
        assert!(progress.0.is_finished());
    }

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
