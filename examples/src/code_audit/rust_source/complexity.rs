//! Cyclomatic complexity of one function, a `match` counted once.

use syn::visit::{self, Visit};
use syn::{BinOp, Block, Expr, Item, Macro};

/// One more than the decisions in `block`; functions inside it are measured on their own.
pub(super) fn of(block: &Block) -> u32 {
    let mut decisions = Decisions(1);
    decisions.visit_block(block);
    decisions.0
}

struct Decisions(u32);

impl<'ast> Visit<'ast> for Decisions {
    fn visit_expr(&mut self, expr: &'ast Expr) {
        self.0 += match expr {
            Expr::If(_) | Expr::While(_) | Expr::ForLoop(_) | Expr::Loop(_) => 1,
            Expr::Match(expr) if expr.arms.len() > 1 => 1,
            Expr::Binary(expr) if matches!(expr.op, BinOp::And(_) | BinOp::Or(_)) => 1,
            _ => 0,
        };
        visit::visit_expr(self, expr);
    }

    fn visit_pat_guard(&mut self, guard: &'ast syn::PatGuard) {
        self.0 += 1;
        visit::visit_pat_guard(self, guard);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        self.0 += u32::from(
            local
                .init
                .as_ref()
                .is_some_and(|init| init.diverge.is_some()),
        );
        visit::visit_local(self, local);
    }

    fn visit_item(&mut self, _: &'ast Item) {}

    fn visit_macro(&mut self, _: &'ast Macro) {}
}
