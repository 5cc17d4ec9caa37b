//! Draws the run's graph as inline SVG: layers from left to right.

use std::fmt::Write as _;

use super::figure::{counted, duration};
use super::graph::{Group, aggregate};
use super::html::escaped;
use crate::code_audit::run::RunNode;

const BOX_WIDTH: usize = 224;
const BOX_HEIGHT: usize = 46;
const GAP: usize = 12;
const COLUMN_GAP: usize = 72;
const MARGIN: usize = 8;
/// Characters of a label that fit into a box.
const LABEL_CHARS: usize = 25;

/// The picture of `nodes`, or nothing if there are none.
pub(super) fn render(nodes: &[RunNode]) -> String {
    let groups = aggregate(nodes);
    if groups.is_empty() {
        return String::new();
    }
    let layout = Layout::of(&groups);
    let mut svg = String::new();
    // Writing to a string cannot fail; so throughout this file.
    let _ = write!(
        svg,
        "<svg class=\"graph\" role=\"img\" aria-label=\"The graph of the run\" viewBox=\"0 0 {0} {1}\" \
         width=\"{0}\" height=\"{1}\">",
        layout.width, layout.height
    );
    for (index, group) in groups.iter().enumerate() {
        for above in &group.upstream {
            draw_edge(&mut svg, layout.places[*above], layout.places[index]);
        }
    }
    for (group, place) in groups.iter().zip(&layout.places) {
        draw_box(&mut svg, group, *place);
    }
    svg.push_str("</svg>");
    svg
}

/// The upper left corner of every box.
struct Layout {
    places: Vec<(usize, usize)>,
    width: usize,
    height: usize,
}

impl Layout {
    fn of(groups: &[Group]) -> Self {
        let layers = groups
            .iter()
            .map(|group| group.layer + 1)
            .max()
            .unwrap_or(0);
        let mut columns: Vec<Vec<usize>> = vec![Vec::new(); layers];
        for (index, group) in groups.iter().enumerate() {
            columns[group.layer].push(index);
        }
        let tallest = columns.iter().map(Vec::len).max().unwrap_or(0);
        let column_height = |boxes: usize| (boxes * (BOX_HEIGHT + GAP)).saturating_sub(GAP);
        let height = column_height(tallest);
        let mut places = vec![(0, 0); groups.len()];
        let mut middles = vec![0; groups.len()];
        for (layer, column) in columns.iter_mut().enumerate() {
            // Boxes stand next to what they wait for, which keeps lines from crossing.
            column.sort_by_key(|index| {
                let above = &groups[*index].upstream;
                above.iter().map(|above| middles[*above]).sum::<usize>() / above.len().max(1)
            });
            let top = (height - column_height(column.len())) / 2;
            for (row, index) in column.iter().enumerate() {
                let y = MARGIN + top + row * (BOX_HEIGHT + GAP);
                places[*index] = (MARGIN + layer * (BOX_WIDTH + COLUMN_GAP), y);
                middles[*index] = y + BOX_HEIGHT / 2;
            }
        }
        let width = layers * (BOX_WIDTH + COLUMN_GAP) - COLUMN_GAP + 2 * MARGIN;
        Self {
            places,
            width,
            height: height + 2 * MARGIN,
        }
    }
}

fn draw_edge(svg: &mut String, from: (usize, usize), to: (usize, usize)) {
    let (x1, y1) = (from.0 + BOX_WIDTH, from.1 + BOX_HEIGHT / 2);
    let (x2, y2) = (to.0, to.1 + BOX_HEIGHT / 2);
    let bend = COLUMN_GAP / 2;
    let _ = write!(
        svg,
        "<path class=\"edge\" d=\"M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}\"/>",
        x1 + bend,
        x2.saturating_sub(bend)
    );
}

fn draw_box(svg: &mut String, group: &Group, (x, y): (usize, usize)) {
    let kind = group.kind.as_str();
    let what = group.language.map_or(kind, |language| language.as_str());
    let time = duration(group.duration_us);
    let detail = match group.tasks() {
        1 => format!("{what} · {time}"),
        tasks => format!("{what} · {} · {time}", counted(tasks, "task")),
    };
    let states: Vec<_> = group
        .states
        .iter()
        .map(|(state, tasks)| format!("{tasks} {}", state.as_str()))
        .collect();
    let _ = write!(
        svg,
        "<g class=\"node {kind} {state}\"><title>{title}: {states}</title>\
         <rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"8\"/>\
         <rect class=\"bar\" x=\"{x}\" y=\"{bar}\" width=\"4\" height=\"{bar_height}\" rx=\"2\"/>\
         <text x=\"{text}\" y=\"{first}\">{label}</text>\
         <text class=\"detail\" x=\"{text}\" y=\"{second}\">{detail}</text></g>",
        state = group.state().as_str(),
        title = escaped(&group.label),
        states = states.join(", "),
        bar = y + 8,
        bar_height = BOX_HEIGHT - 16,
        text = x + 14,
        first = y + 20,
        second = y + 36,
        label = escaped(&shortened(&group.label)),
    );
}

/// Keeps the beginning and the end of a long label: paths differ there.
fn shortened(label: &str) -> String {
    let chars: Vec<char> = label.chars().collect();
    if chars.len() <= LABEL_CHARS {
        return label.to_owned();
    }
    let head = LABEL_CHARS / 2 - 1;
    let tail = LABEL_CHARS - head - 1;
    chars[..head]
        .iter()
        .chain(&['…'])
        .chain(&chars[chars.len() - tail..])
        .collect()
}
