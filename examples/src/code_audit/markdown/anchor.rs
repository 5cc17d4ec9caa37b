//! The anchors of a Markdown document: headings as GitHub names them, and explicit ids.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::code_audit::model::MAX_ANALYSED_BYTES;

/// What a `#fragment` may name.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    names: HashSet<String>,
    repeated: HashMap<String, usize>,
}

impl Anchors {
    /// Collects the anchors of `text`.
    pub(super) fn of(text: &str) -> Self {
        let mut anchors = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, super::options()) {
            match event {
                Event::Start(Tag::Heading { id, .. }) => {
                    anchors.names.extend(id.map(|id| id.to_lowercase()));
                    heading = Some(String::new());
                }
                Event::End(TagEnd::Heading(_)) => anchors.add_heading(heading.take().as_deref()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    for name in ["id", "name"] {
                        let ids = attributes(&html, name).map(str::to_lowercase);
                        anchors.names.extend(ids);
                    }
                }
                _ => {}
            }
        }
        anchors
    }

    /// Collects the anchors of another document, unless it cannot be read.
    pub(super) fn read(document: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = File::open(document).ok()?;
        file.take(MAX_ANALYSED_BYTES)
            .read_to_string(&mut text)
            .ok()?;
        Some(Self::of(&text))
    }

    /// Whether `anchor` is one; `#L10` and text fragments are the viewer's own.
    pub(super) fn has(&self, anchor: &str) -> bool {
        let is_line = anchor
            .strip_prefix('L')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        anchor.is_empty()
            || anchor == "top"
            || anchor.starts_with(":~:")
            || is_line
            || self.names.contains(&anchor.to_lowercase())
    }

    fn add_heading(&mut self, heading: Option<&str>) {
        let slug = slug(heading.unwrap_or_default());
        let count = self.repeated.entry(slug.clone()).or_default();
        let name = match *count {
            0 => slug,
            count => format!("{slug}-{count}"),
        };
        *count += 1;
        self.names.insert(name);
    }
}

/// GitHub's slug: lower case, spaces to hyphens, other punctuation gone.
fn slug(heading: &str) -> String {
    heading
        .trim()
        .chars()
        .flat_map(char::to_lowercase)
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

/// The values of the attribute `name` in a piece of HTML.
pub(super) fn attributes<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    html.match_indices(name).filter_map(move |(at, _)| {
        let before = html[..at].chars().next_back()?;
        let value = html[at + name.len()..]
            .trim_start()
            .strip_prefix('=')?
            .trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let end = value[1..].find(quote)?;
        before.is_whitespace().then(|| &value[1..=end])
    })
}
