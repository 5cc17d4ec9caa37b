//! Markdown: relative links, images and anchors that lead nowhere.

mod anchor;
mod target;

use std::path::Path;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};

use crate::code_audit::finding::Finding;
use crate::code_audit::rules::Rule;
use crate::code_audit::source::line_at;

use anchor::Anchors;
use target::{Resolved, Target};

/// Follows the relative links of the Markdown `text` at `path`, relative to `root`.
///
/// Links with a scheme, to a site's root or out of the audited tree cannot be judged here and are left
/// alone.
pub(crate) fn check(text: &str, path: &str, root: &Path) -> Vec<Finding> {
    let own = Anchors::of(text);
    let mut findings = Vec::new();
    for link in links(text) {
        let Some(target) = Target::parse(&link.url) else {
            continue;
        };
        let problem = match target.resolve(path, root) {
            Resolved::Outside => None,
            Resolved::Missing => Some((Rule::DeadLink, format!("`{}` leads to no file", link.url))),
            Resolved::Here => dead_anchor(&target, &own, &link.url),
            Resolved::Document(document) => match Anchors::read(&document) {
                Some(anchors) => dead_anchor(&target, &anchors, &link.url),
                None => None,
            },
            Resolved::Other => None,
        };
        if let Some((rule, message)) = problem {
            let line = line_at(text.as_bytes(), link.offset);
            findings.push(Finding::new(rule, path, line, message));
        }
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

fn dead_anchor(target: &Target, anchors: &Anchors, url: &str) -> Option<(Rule, String)> {
    let anchor = target.anchor.as_deref()?;
    (!anchors.has(anchor)).then(|| (Rule::DeadAnchor, format!("`{url}` leads to no heading")))
}

#[cfg(test)]
mod tests;
