//! Gives the parser a stack that fits the source: a bound on its recursion, measured beforehand.

use std::str::FromStr;
use std::thread;

use proc_macro2::{Delimiter, TokenStream, TokenTree, extra, token_stream};

use super::{NotParsed, parse};

/// Stack for one level of recursion, with room to spare in a build without optimisation.
const STACK_PER_LEVEL: usize = 64 << 10;
/// What the first thread can carry: all code that people write.
const ORDINARY_LEVELS: usize = 200;
/// What is refused: no program needs it, and its stack would take 250 MiB.
const MAX_LEVELS: usize = 4_000;

/// Parses `text` and hands the tree to `work`, both on a thread with a stack that is deep enough.
pub(super) fn with_stack<T: Send>(
    text: &str,
    work: impl Fn(Result<syn::File, NotParsed>) -> Result<T, NotParsed> + Sync,
) -> Result<T, NotParsed> {
    // The lexer does not recurse, so the bound can be measured on any stack.
    let first = on_stack(ORDINARY_LEVELS, || {
        let tokens = lex(text)?;
        let levels = levels(&tokens);
        match levels <= ORDINARY_LEVELS {
            true => work(parse(tokens)).map(Ok),
            false => Ok(Err(levels)),
        }
    })?;
    match first {
        Ok(result) => Ok(result),
        Err(levels) if levels > MAX_LEVELS => Err(NotParsed::TooDeep),
        Err(levels) => on_stack(levels, || work(parse(lex(text)?))),
    }
}

fn on_stack<T: Send>(
    levels: usize,
    work: impl FnOnce() -> Result<T, NotParsed> + Send,
) -> Result<T, NotParsed> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(levels * STACK_PER_LEVEL);
        let Ok(thread) = builder.spawn_scoped(scope, work) else {
            return Err(NotParsed::TooDeep);
        };
        // The spans of a thread are dropped with it, so memory does not grow with the tree.
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn lex(text: &str) -> Result<TokenStream, NotParsed> {
    extra::invalidate_current_thread_spans();
    TokenStream::from_str(text).map_err(|error| NotParsed::syntax(error.span(), &error))
}

/// Bounds how deep a recursive descent over `tokens` can go, without recursing itself.
///
/// Every delimiter is a level. Without delimiters, depth comes from tokens that follow each other
/// within one statement (`!!!!x`, `a<b<c<…`, `x.a().b()…`, `else if … else if …`), so the longest run of
/// those that can nest is added for every level.
fn levels(tokens: &TokenStream) -> usize {
    let mut deepest = 0;
    let mut stack = vec![Frame::new(tokens.clone(), 0)];
    while let Some(frame) = stack.last_mut() {
        let Some(token) = frame.tokens.next() else {
            stack.pop();
            continue;
        };
        frame.see(&token);
        let here = frame.base + frame.run;
        deepest = deepest.max(here);
        if let TokenTree::Group(group) = token {
            stack.push(Frame::new(group.stream(), here + 1));
        }
    }
    deepest
}

struct Frame {
    tokens: token_stream::IntoIter,
    /// The levels above this group.
    base: usize,
    /// Tokens of the statement so far that can nest in each other.
    run: usize,
    after_block: bool,
}

impl Frame {
    fn new(tokens: TokenStream, base: usize) -> Self {
        Self {
            tokens: tokens.into_iter(),
            base,
            run: 0,
            after_block: false,
        }
    }

    fn see(&mut self, token: &TokenTree) {
        let after_block = std::mem::replace(&mut self.after_block, false);
        match token {
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' | ',' => self.run = 0,
                // An attribute starts an item, unless it hangs on an expression.
                '#' if after_block => self.run = 0,
                _ => self.run += 1,
            },
            TokenTree::Ident(ident) => {
                // After a block starts something new, unless it is continued.
                if after_block && ident != "else" {
                    self.run = 0;
                }
                let nests = [
                    "else", "return", "break", "yield", "move", "mut", "box", "raw", "const",
                ];
                self.run += usize::from(nests.iter().any(|word| ident == word));
            }
            TokenTree::Group(group) => {
                self.after_block = group.delimiter() == Delimiter::Brace;
                self.run += usize::from(!self.after_block);
            }
            TokenTree::Literal(_) => {}
        }
    }
}
