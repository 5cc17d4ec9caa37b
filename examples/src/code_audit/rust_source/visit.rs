//! One pass over the syntax tree: panics, unsafe code and the measures of functions.

use proc_macro2::Span;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, ExprMethodCall, File, Lit, Macro, Signature, Token};

use super::lines::Lines;
use super::{RustReport, attribute, complexity};
use crate::code_audit::analysis::is_test_path;
use crate::code_audit::finding::Finding;
use crate::code_audit::model::Function;
use crate::code_audit::rules::Rule;

/// Functions with more lines of code are reported.
const MAX_FUNCTION_LINES: u32 = 100;
/// Functions with a higher complexity are reported.
const MAX_COMPLEXITY: u32 = 25;

/// Visits `file`, whose text is `lines`.
pub(super) fn check(file: &File, path: &str, lines: &Lines<'_>) -> RustReport {
    let mut visitor = Visitor {
        path,
        lines,
        report: RustReport::default(),
        owner: None,
        tests: usize::from(is_test_path(path) || attribute::is_test(&file.attrs)),
        constants: usize::from(path == "build.rs" || path.ends_with("/build.rs")),
    };
    visitor.visit_file(file);
    visitor.report
}

struct Visitor<'a> {
    path: &'a str,
    lines: &'a Lines<'a>,
    report: RustReport,
    /// The type or trait whose functions are visited.
    owner: Option<String>,
    /// How many test items enclose this place.
    tests: usize,
    /// How many constants enclose this place: a panic there is an error of the build.
    constants: usize,
}

impl Visitor<'_> {
    fn find(&mut self, rule: Rule, span: Span, message: impl Into<String>) {
        let line = span.start().line;
        self.report
            .findings
            .push(Finding::new(rule, self.path, line, message));
    }

    fn may_panic(&self) -> bool {
        self.tests > 0 || self.constants > 0
    }

    /// Visits with `work` as inside a test if the attributes say so.
    fn within(&mut self, attributes: &[Attribute], work: impl FnOnce(&mut Self)) {
        let is_test = usize::from(attribute::is_test(attributes));
        self.tests += is_test;
        work(self);
        self.tests -= is_test;
    }

    fn within_owner(&mut self, owner: Option<String>, work: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.owner, owner);
        work(self);
        self.owner = outer;
    }

    fn within_constant(&mut self, work: impl FnOnce(&mut Self)) {
        self.constants += 1;
        work(self);
        self.constants -= 1;
    }

    fn measure(&mut self, signature: &Signature, block: &Block) {
        if self.tests > 0 {
            return;
        }
        let start = signature.span().start().line;
        let function = Function {
            name: match &self.owner {
                Some(owner) => format!("{owner}::{}", signature.ident),
                None => signature.ident.to_string(),
            },
            path: self.path.to_owned(),
            line: u32::try_from(start).unwrap_or(u32::MAX),
            lines: self.lines.code_between(start, block.span().end().line),
            complexity: complexity::of(block),
        };
        let name = &function.name;
        if function.lines > MAX_FUNCTION_LINES {
            let message = format!("`{name}` has {} lines of code", function.lines);
            self.find(Rule::LongFunction, signature.ident.span(), message);
        }
        let name = &function.name;
        if function.complexity > MAX_COMPLEXITY {
            let message = format!(
                "`{name}` has a cyclomatic complexity of {}",
                function.complexity
            );
            self.find(Rule::ComplexFunction, signature.ident.span(), message);
        }
        self.report.functions.push(function);
    }

    fn see_unsafe(&mut self, span: Span, what: &str) {
        if self.tests > 0 {
            return;
        }
        match self.lines.states_safety(span.start().line) {
            true => self.find(Rule::Unsafe, span, format!("{what} with its reason")),
            false => self.find(
                Rule::UnsafeUndocumented,
                span,
                format!("{what} without a `SAFETY` comment"),
            ),
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(&item.attrs, |this| visit::visit_item_mod(this, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(&item.attrs, |this| {
            this.within_owner(None, |this| {
                this.measure(&item.sig, &item.block);
                visit::visit_item_fn(this, item);
            });
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.within(&item.attrs, |this| {
            if let Some(token) = &item.unsafety {
                this.see_unsafe(token.span, "an `unsafe impl`");
            }
            let owner = type_name(&item.self_ty);
            this.within_owner(owner, |this| visit::visit_item_impl(this, item));
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.attrs, |this| {
            this.measure(&item.sig, &item.block);
            visit::visit_impl_item_fn(this, item);
        });
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let owner = Some(item.ident.to_string());
        self.within(&item.attrs, |this| {
            this.within_owner(owner, |this| visit::visit_item_trait(this, item));
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within_constant(|this| visit::visit_item_const(this, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.within_constant(|this| visit::visit_item_static(this, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within_constant(|this| visit::visit_impl_item_const(this, item));
    }

    fn visit_expr_const(&mut self, expr: &'ast syn::ExprConst) {
        self.within_constant(|this| visit::visit_expr_const(this, expr));
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        self.within(&local.attrs, |this| visit::visit_local(this, local));
    }

    fn visit_expr_unsafe(&mut self, expr: &'ast syn::ExprUnsafe) {
        self.see_unsafe(expr.unsafe_token.span, "an `unsafe` block");
        visit::visit_expr_unsafe(self, expr);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if !self.may_panic() {
            match panicking_call(call) {
                Some(Rule::Unwrap) => {
                    self.find(Rule::Unwrap, call.method.span(), "`unwrap()` outside tests");
                }
                Some(rule) => self.find(rule, call.method.span(), "`expect()` outside tests"),
                None => {}
            }
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        let Some(name) = mac.path.segments.last().map(|last| last.ident.to_string()) else {
            return;
        };
        let rule = match name.as_str() {
            "todo" | "unimplemented" => Some(Rule::TodoMacro),
            "panic" => Some(Rule::Panic),
            _ => None,
        };
        if let Some(rule) = rule
            && !self.may_panic()
        {
            self.find(rule, mac.path.span(), format!("`{name}!` outside tests"));
        }
        // The arguments of the well-known macros are expressions like any other.
        if TAKES_EXPRESSIONS.contains(&name.as_str()) {
            for expression in arguments(mac) {
                self.visit_expr(&expression);
            }
        }
    }
}

/// Macros of the standard library and of logging whose arguments are expressions.
const TAKES_EXPRESSIONS: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "dbg",
    "debug",
    "debug_assert",
    "debug_assert_eq",
    "eprintln",
    "error",
    "format",
    "info",
    "join",
    "panic",
    "print",
    "println",
    "trace",
    "try_join",
    "vec",
    "warn",
    "write",
    "writeln",
];

/// `unwrap()`, or `expect("…")`; other methods of these names take other arguments.
fn panicking_call(call: &ExprMethodCall) -> Option<Rule> {
    if call.method == "unwrap" && call.args.is_empty() {
        return Some(Rule::Unwrap);
    }
    let is_text = match call.args.first()? {
        Expr::Lit(literal) => matches!(literal.lit, Lit::Str(_)),
        Expr::Reference(reference) => matches!(*reference.expr, Expr::Macro(_)),
        _ => false,
    };
    (call.method == "expect" && call.args.len() == 1 && is_text).then_some(Rule::Expect)
}

/// The name of a type without its path and arguments.
fn type_name(ty: &syn::Type) -> Option<String> {
    match ty {
        syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        syn::Type::Reference(reference) => type_name(&reference.elem),
        _ => None,
    }
}

/// The arguments of `mac` up to the first that is no expression.
fn arguments(mac: &Macro) -> Vec<Expr> {
    let parser = |input: ParseStream<'_>| {
        let mut expressions = Vec::new();
        while let Ok(expression) = input.parse::<Expr>() {
            expressions.push(expression);
            if input.parse::<Token![,]>().is_err() {
                break;
            }
        }
        // What is left is no expression, but a parser must take all of its input.
        let _: proc_macro2::TokenStream = input.parse()?;
        Ok(expressions)
    };
    parser.parse2(mac.tokens.clone()).unwrap_or_default()
}
