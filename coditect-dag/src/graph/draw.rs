//! Pictures of a graph, for people.

use std::fmt::Write;

use super::TaskGraph;
use crate::TaskId;

impl<N> TaskGraph<N> {
    /// Draws the graph in the DOT language of Graphviz.
    ///
    /// Labels may hold any text, line breaks included.
    #[must_use]
    pub fn to_dot(&self, mut label: impl FnMut(TaskId, &N) -> String) -> String {
        let mut text = String::from("digraph tasks {\n    rankdir=LR;\n    node [shape=box];\n");
        for (task, node) in self.iter() {
            let label = escape_dot(&label(task, node));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    t{task} [label=\"{label}\"];");
        }
        for (upstream, task) in self.edges() {
            let _ = writeln!(text, "    t{upstream} -> t{task};");
        }
        text.push_str("}\n");
        text
    }

    /// Draws the graph as a Mermaid flow chart.
    ///
    /// Labels may hold any text, line breaks included; markup in them shows as it is.
    #[must_use]
    pub fn to_mermaid(&self, mut label: impl FnMut(TaskId, &N) -> String) -> String {
        let mut text = String::from("flowchart LR\n");
        for (task, node) in self.iter() {
            let label = escape_mermaid(&label(task, node));
            let _ = writeln!(text, "    t{task}[\"{label}\"]");
        }
        for (upstream, task) in self.edges() {
            let _ = writeln!(text, "    t{upstream} --> t{task}");
        }
        text
    }
}

fn escape_dot(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    for c in label.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}

/// Writes whatever Mermaid, Markdown or HTML could take for its own as an entity.
fn escape_mermaid(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    for c in label.chars() {
        match c {
            '\n' => text.push_str("<br/>"),
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' | ';' | '*' | '_' | '[' | ']' | '{' | '}'
            | '(' | ')' | '|' => {
                let _ = write!(text, "#{};", u32::from(c));
            }
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    // An empty label would be a syntax error.
    if text.is_empty() {
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> TaskGraph<&'static str> {
        let mut builder = TaskGraph::builder();
        let a = builder.task("a", "say \"hi\"\\n");
        let b = builder.task("b", "<b>\n#1; \u{7}");
        builder.depends_on(b, a);
        builder.build().unwrap()
    }

    #[test]
    fn dot_escapes_quotes_backslashes_and_line_breaks() {
        assert_eq!(
            two().to_dot(|_, node| (*node).to_owned()),
            "digraph tasks {\n    rankdir=LR;\n    node [shape=box];\n    \
             t0 [label=\"say \\\"hi\\\"\\\\n\"];\n    t1 [label=\"<b>\\n#1;  \"];\n    \
             t0 -> t1;\n}\n"
        );
    }

    #[test]
    fn mermaid_escapes_markup() {
        assert_eq!(
            two().to_mermaid(|_, node| (*node).to_owned()),
            "flowchart LR\n    t0[\"say #34;hi#34;#92;n\"]\n    \
             t1[\"#60;b#62;<br/>#35;1#59;  \"]\n    t0 --> t1\n"
        );
    }

    #[test]
    fn an_empty_label_is_still_a_label() {
        assert!(two().to_mermaid(|_, _| String::new()).contains("t0[\" \"]"));
    }
}
