//! The lines of a source: which are code, and what the comments near a line say.

/// How far above an `unsafe` its `SAFETY` comment may start.
const REACH: usize = 25;

/// The lines of a file, by number from 1.
pub(super) struct Lines<'a> {
    lines: Vec<&'a str>,
    /// `code[n]` is the number of lines of code among the first `n`.
    code: Vec<u32>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let lines: Vec<_> = text.lines().collect();
        let mut code = Vec::with_capacity(lines.len() + 1);
        let mut count = 0;
        code.push(count);
        for line in &lines {
            let line = line.trim_start();
            count += u32::from(!line.is_empty() && !line.starts_with("//"));
            code.push(count);
        }
        Self { lines, code }
    }

    /// Lines of code in the file.
    pub(super) fn code(&self) -> u64 {
        self.code_between(1, self.lines.len()).into()
    }

    /// Lines of code from line `first` to line `last`, both included.
    pub(super) fn code_between(&self, first: usize, last: usize) -> u32 {
        let at = |line: usize| self.code[line.min(self.lines.len())];
        at(last).saturating_sub(at(first.saturating_sub(1)))
    }

    /// Whether a comment on `line`, the line after it or directly above its statement speaks of safety.
    pub(super) fn states_safety(&self, line: usize) -> bool {
        let index = line.saturating_sub(1);
        if self
            .lines
            .iter()
            .skip(index)
            .take(2)
            .any(|line| comment_states_safety(line))
        {
            return true;
        }
        let above = self.lines[..index.min(self.lines.len())]
            .iter()
            .rev()
            .take(REACH);
        let mut in_comment = false;
        for line in above {
            let line = line.trim();
            let is_comment =
                line.starts_with("//") || line.starts_with('*') || line.starts_with("/*");
            if is_comment && comment_states_safety(line) {
                return true;
            }
            // Above the statement and its comment stands something else.
            let ends_other = line.is_empty() || line.ends_with([';', '}']);
            if !is_comment && (in_comment || ends_other) {
                return false;
            }
            in_comment = is_comment;
        }
        false
    }
}

fn comment_states_safety(line: &str) -> bool {
    let comment = line
        .find("//")
        .or_else(|| line.find("/*"))
        .or_else(|| line.find('*'));
    comment.is_some_and(|at| line[at..].to_ascii_lowercase().contains("safe"))
}
