//! Markdown: relative links, images and anchors that lead nowhere.

mod anchor;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};
use serde::{Deserialize, Serialize};

use crate::code_audit::finding::Finding;
use crate::code_audit::rules::Rule;
use crate::code_audit::source::line_at;

use anchor::Anchors;
use target::{Resolved, Target};

/// The links of a document that lead nowhere in other files, by their text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Neighbours(BTreeMap<String, Dead>);

/// How a link leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Dead {
    Link,
    Anchor,
}

impl Neighbours {
    /// Follows the relative links to other files of the Markdown `text` at `path`, relative to `root`.
    ///
    /// Links with a scheme, to a site's root or out of the audited tree cannot be judged here and are left
    /// alone.
    pub(crate) fn of(text: &str, path: &str, root: &Path) -> Self {
        let urls: BTreeSet<_> = links(text).into_iter().map(|link| link.url).collect();
        let dead = urls
            .into_iter()
            .filter_map(|url| Some((Dead::of(&Target::parse(&url)?, path, root)?, url)));
        Self(dead.map(|(dead, url)| (url, dead)).collect())
    }
}

impl Dead {
    fn of(target: &Target, path: &str, root: &Path) -> Option<Self> {
        match target.resolve(path, root) {
            Resolved::Missing => Some(Self::Link),
            Resolved::Document(document) => {
                let anchor = target.anchor.as_deref()?;
                (!Anchors::read(&document)?.has(anchor)).then_some(Self::Anchor)
            }
            Resolved::Here | Resolved::Outside | Resolved::Other => None,
        }
    }
}

/// Judges the links of the Markdown `text` at `path`.
pub(crate) fn check(text: &str, path: &str, neighbours: &Neighbours) -> Vec<Finding> {
    let own = Anchors::of(text);
    let mut findings = Vec::new();
    for link in links(text) {
        let Some(target) = Target::parse(&link.url) else {
            continue;
        };
        let dead = match &target.anchor {
            Some(anchor) if target.is_here() => (!own.has(anchor)).then_some(Dead::Anchor),
            _ => neighbours.0.get(&link.url).copied(),
        };
        let (rule, what) = match dead {
            Some(Dead::Link) => (Rule::DeadLink, "file"),
            Some(Dead::Anchor) => (Rule::DeadAnchor, "heading"),
            None => continue,
        };
        let line = line_at(text.as_bytes(), link.offset);
        let message = format!("`{}` leads to no {what}", link.url);
        findings.push(Finding::new(rule, path, line, message));
    }
    findings
}

struct Link {
    url: String,
    offset: usize,
}

fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                ..
            }) if !matches!(link_type, LinkType::Autolink | LinkType::Email) => {
                links.push(Link {
                    url: dest_url.into_string(),
                    offset: range.start,
                });
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                links.push(Link {
                    url: dest_url.into_string(),
                    offset: range.start,
                });
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let urls = ["src", "href"]
                    .iter()
                    .flat_map(|name| anchor::attributes(&html, name));
                links.extend(urls.map(|url| Link {
                    url: url.to_owned(),
                    offset: range.start,
                }));
            }
            _ => {}
        }
    }
    links
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
}

#[cfg(test)]
mod tests;
