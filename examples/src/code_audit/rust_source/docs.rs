//! Public items without documentation, as far as one file can tell.

use std::collections::HashSet;

use syn::{Attribute, Fields, File, Ident, ImplItem, Item, TraitItem, Type, Visibility};

use super::attribute;
use super::reach::Reach;
use crate::code_audit::finding::Finding;
use crate::code_audit::rules::Rule;

/// Reports what rustc's `missing_docs` would, in one finding per item: fields and variants are counted
/// at their type. Items that users of the library cannot reach are left out.
pub(super) fn check(file: &File, path: &str, reach: &Reach) -> Vec<Finding> {
    if matches!(reach, Reach::Nothing) || attribute::hides_content(&file.attrs) {
        return Vec::new();
    }
    let mut docs = Docs {
        path,
        findings: Vec::new(),
    };
    docs.items(&file.items, reach);
    docs.findings
}

struct Docs<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl Docs<'_> {
    fn items(&mut self, items: &[Item], reach: &Reach) {
        let public: HashSet<_> = items
            .iter()
            .filter_map(|item| public_type(item, reach))
            .collect();
        for item in items {
            self.item(item, reach, &public);
        }
    }

    fn item(&mut self, item: &Item, reach: &Reach, public: &HashSet<&Ident>) {
        let is_reached = |vis: &Visibility, ident: &Ident| is_public(vis) && reach.reaches(ident);
        match item {
            Item::Fn(item) if is_reached(&item.vis, &item.sig.ident) => {
                self.require(&item.attrs, "fn", &item.sig.ident);
            }
            Item::Const(item) if is_reached(&item.vis, &item.ident) => {
                self.require(&item.attrs, "const", &item.ident);
            }
            Item::Static(item) if is_reached(&item.vis, &item.ident) => {
                self.require(&item.attrs, "static", &item.ident);
            }
            Item::Type(item) if is_reached(&item.vis, &item.ident) => {
                self.require(&item.attrs, "type", &item.ident);
            }
            Item::Struct(item) if is_reached(&item.vis, &item.ident) => {
                let is_shown = self.require(&item.attrs, "struct", &item.ident);
                if is_shown {
                    self.fields(&item.fields, &item.ident);
                }
            }
            Item::Enum(item) if is_reached(&item.vis, &item.ident) => {
                let is_shown = self.require(&item.attrs, "enum", &item.ident);
                if is_shown {
                    let attributes = item.variants.iter().map(|variant| &variant.attrs[..]);
                    self.members(attributes, "variant", &item.ident);
                }
            }
            Item::Trait(item) if is_reached(&item.vis, &item.ident) => {
                let is_shown = self.require(&item.attrs, "trait", &item.ident);
                if is_shown {
                    self.trait_items(&item.items);
                }
            }
            Item::Mod(item) if is_public(&item.vis) && reach.reaches(&item.ident) => {
                // The docs of `mod name;` may stand inside its file, which is judged by itself.
                let Some((_, items)) = &item.content else {
                    return;
                };
                if self.require(&item.attrs, "mod", &item.ident) {
                    self.items(items, &Reach::Everything);
                }
            }
            Item::Macro(item) if attribute::has(&item.attrs, "macro_export") => {
                if let Some(ident) = &item.ident {
                    self.require(&item.attrs, "macro", ident);
                }
            }
            Item::Impl(item)
                if item.trait_.is_none()
                    && !is_excused(&item.attrs)
                    && type_ident(&item.self_ty).is_some_and(|ident| public.contains(ident)) =>
            {
                self.impl_items(&item.items);
            }
            _ => {}
        }
    }

    fn fields(&mut self, fields: &Fields, owner: &Ident) {
        if let Fields::Named(fields) = fields {
            let public = fields.named.iter().filter(|field| is_public(&field.vis));
            self.members(public.map(|field| &field.attrs[..]), "public field", owner);
        }
    }

    fn members<'a>(
        &mut self,
        attributes: impl Iterator<Item = &'a [Attribute]>,
        what: &str,
        owner: &Ident,
    ) {
        let missing = attributes
            .filter(|attributes| !is_excused(attributes))
            .count();
        if missing > 0 {
            let plural = if missing == 1 { "" } else { "s" };
            self.find(
                owner,
                format!("{missing} {what}{plural} of `{owner}` without documentation"),
            );
        }
    }

    fn trait_items(&mut self, items: &[TraitItem]) {
        for item in items {
            match item {
                TraitItem::Fn(item) => self.require(&item.attrs, "fn", &item.sig.ident),
                TraitItem::Const(item) => self.require(&item.attrs, "const", &item.ident),
                TraitItem::Type(item) => self.require(&item.attrs, "type", &item.ident),
                _ => true,
            };
        }
    }

    fn impl_items(&mut self, items: &[ImplItem]) {
        for item in items {
            match item {
                ImplItem::Fn(item) if is_public(&item.vis) => {
                    self.require(&item.attrs, "fn", &item.sig.ident)
                }
                ImplItem::Const(item) if is_public(&item.vis) => {
                    self.require(&item.attrs, "const", &item.ident)
                }
                _ => true,
            };
        }
    }

    /// Reports the item if it has no documentation; returns whether its content must be looked at.
    fn require(&mut self, attributes: &[Attribute], what: &str, ident: &Ident) -> bool {
        if attribute::hides_content(attributes) || attribute::is_test(attributes) {
            return false;
        }
        if !attribute::is_documented(attributes) {
            self.find(
                ident,
                format!("public {what} `{ident}` without documentation"),
            );
        }
        true
    }

    fn find(&mut self, ident: &Ident, message: String) {
        let line = ident.span().start().line;
        self.findings
            .push(Finding::new(Rule::MissingDocs, self.path, line, message));
    }
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn is_excused(attributes: &[Attribute]) -> bool {
    attribute::is_documented(attributes) || attribute::is_test(attributes)
}

/// The name of a public type whose own methods are public too.
fn public_type<'a>(item: &'a Item, reach: &Reach) -> Option<&'a Ident> {
    let (attributes, vis, ident) = match item {
        Item::Struct(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Enum(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Union(item) => (&item.attrs, &item.vis, &item.ident),
        _ => return None,
    };
    let is_shown = !attribute::hides_content(attributes) && !attribute::is_test(attributes);
    (is_public(vis) && is_shown && reach.reaches(ident)).then_some(ident)
}

fn type_ident(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|last| &last.ident),
        _ => None,
    }
}
