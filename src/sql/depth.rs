//! How deep a statement goes: what a short text can make recursive code do, and where that ends.
//!
//! Syntax trees and plans are walked, copied and dropped by recursion, in our code and in libraries, and a stack that
//! overflows takes the whole server with it. `1+1+1+...` makes a level of every term without nesting anything, so the
//! parser's own limit does not see it. Three steps keep the depth known:
//!
//! 1. [`bound`] counts tokens before anything is parsed: no tree of the text can be deeper, so the parser gets a stack that
//!    is large enough to build it, and to drop it when the text turns out to be wrong.
//! 2. [`settle`] turns chains of AND and OR, which real queries have by the thousand, into balanced trees that mean the
//!    same, measures the depth of what remains, and refuses what is too deep.
//! 3. [`Roomy`] runs the work on a statement that is deeper than usual on a stack made for its depth.
//!
//! Invariant: a [`Weight`] is at least the depth of the statement's tree.
//!
//! Must not know: what statements mean.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SetExpr, Statement, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use futures::Stream;

use super::error::{SqlError, SqlErrorKind};
use crate::runtime;

/// Deepest tree of a statement, counted in expressions, set operations, joined tables and common table expressions.
const DEPTH_MAX: usize = 500;
/// Longest chain of one AND or OR. Plans may line up what [`settle`] balanced.
const CHAIN_MAX: usize = 20_000;
/// Most tokens of one item, see [`bound`]: a chain of the longest kind has four a link.
const BOUND_MAX: usize = 100_000;
/// Deepest nesting of brackets. The parser gives up earlier wherever it counts, and does not count types.
const BRACKETS_MAX: usize = 64;
/// Copies that the rewriter may make of the innermost of nested BETWEENs and CASEs, which it says in words that repeat
/// their operand.
const COPIES_MAX: usize = 10_000;
/// A query within a query costs planning as much stack as this many expressions.
const QUERY_LEVELS: usize = 8;
/// Shorter chains stay as they were parsed.
const BALANCED_FROM: usize = 16;

/// What the stack of a thread holds without help, in a debug build as well.
const WEIGHT_USUAL: usize = 32;
/// Stack for each level: in debug builds the planner's frames are this large, optimised ones are a tenth of it.
const LEVEL_BYTES: usize = 96 << 10;
/// Stack for each token that may become a level of the tree that the parser builds and drops.
const TOKEN_BYTES: usize = 1 << 10;
const BASE_BYTES: usize = 4 << 20;
/// Address space is plentiful and untouched pages cost nothing, but not without end.
const STACK_BYTES_MAX: usize = 512 << 20;

/// How much stack a statement needs, in levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(usize);

impl Weight {
    fn is_usual(self) -> bool {
        self.0 <= WEIGHT_USUAL
    }

    /// For what is kept as text and read again where nobody knows its weight.
    pub(super) fn require_usual(self) -> Result<(), SqlError> {
        if self.is_usual() { Ok(()) } else { Err(too_deep()) }
    }

    fn stack_bytes(self) -> usize {
        (BASE_BYTES + self.0 * LEVEL_BYTES).min(STACK_BYTES_MAX)
    }
}

pub(super) fn too_deep() -> SqlError {
    SqlError::new(SqlErrorKind::TooComplex, "the statement is nested too deeply")
        .hint("Write long chains of operators, UNIONs and joins as lists or arrays, or split the statement.")
}

/// The most levels that a tree of these tokens can have.
///
/// Only brackets and chains make levels. What commas separate are siblings, except that a UNION goes on behind the commas
/// of its select lists; so the bound of a bracket is its set operations and its longest item, and an item's bound is its
/// tokens and the deepest of the brackets in it.
pub(super) fn bound(tokens: &[TokenWithSpan]) -> Result<usize, SqlError> {
    let mut open = vec![Bracket::default()];
    let mut types = 0;
    let mut last_word_opens_type = false;
    for token in tokens {
        let top = open.last_mut().expect("the statement itself is never closed");
        let mut opens_type = false;
        match &token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::Comma | Token::SemiColon => top.end_item(),
            Token::LParen | Token::LBracket | Token::LBrace => {
                top.tokens += 1;
                open.push(Bracket::default());
                if open.len() > BRACKETS_MAX {
                    return Err(too_deep());
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                top.tokens += 1;
                let inner = top.bound();
                if open.len() > 1 {
                    open.pop();
                }
                let outer = open.last_mut().expect("the statement itself is never closed");
                outer.deepest = outer.deepest.max(inner);
            }
            Token::Word(word) => {
                top.tokens += 1;
                let is = |wanted: &str| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted);
                if is("union") || is("intersect") || is("except") {
                    top.end_item();
                    top.set_operations += 1;
                }
                opens_type = is("array") || is("struct") || is("map");
            }
            Token::Lt if last_word_opens_type => {
                types += 1;
                if types > BRACKETS_MAX {
                    return Err(too_deep());
                }
            }
            _ => top.tokens += 1,
        }
        last_word_opens_type = opens_type;
    }
    let bound = open.iter().map(Bracket::bound).sum();
    if bound > BOUND_MAX {
        return Err(too_deep());
    }
    Ok(bound)
}

/// What [`bound`] has seen of an open bracket.
#[derive(Default)]
struct Bracket {
    /// Of the item at hand.
    tokens: usize,
    /// The largest bound among the closed brackets of the item at hand.
    deepest: usize,
    largest_item: usize,
    set_operations: usize,
}

impl Bracket {
    fn end_item(&mut self) {
        self.largest_item = self.largest_item.max(self.tokens + self.deepest);
        (self.tokens, self.deepest) = (0, 0);
    }

    fn bound(&self) -> usize {
        self.set_operations + self.largest_item.max(self.tokens + self.deepest)
    }
}

/// Runs the parser, and what follows it at once, on a stack for trees of this [`bound`].
pub(super) fn with_stack_for<R>(bound: usize, work: impl FnOnce() -> R) -> R {
    let bytes = BASE_BYTES + bound * TOKEN_BYTES;
    stacker::maybe_grow(if bound <= BOUND_USUAL { RED_ZONE_BYTES } else { bytes }, bytes, work)
}

/// Texts of usual statements are parsed where they are.
const BOUND_USUAL: usize = 256;
const RED_ZONE_BYTES: usize = 256 << 10;

/// Balances chains and measures.
///
/// # Errors
/// `TooComplex` for what is too deep; the statement is only good to be dropped then.
pub(super) fn settle(statement: &mut Statement) -> Result<Weight, SqlError> {
    let mut settling = Settling::default();
    match VisitMut::visit(statement, &mut settling) {
        ControlFlow::Break(()) => Err(too_deep()),
        ControlFlow::Continue(()) => Ok(Weight(settling.deepest + settling.longest_chain / 8)),
    }
}

#[derive(Default)]
struct Settling {
    depth: usize,
    deepest: usize,
    longest_chain: usize,
    /// What each open query and select added to the depth.
    added: Vec<usize>,
    /// How often the rewriter would copy what stands here; one entry for each open construct that copies.
    copies: Vec<usize>,
}

impl Settling {
    fn enter(&mut self, levels: usize) -> ControlFlow<()> {
        self.depth += levels;
        self.deepest = self.deepest.max(self.depth);
        if self.depth > DEPTH_MAX {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn enter_counted(&mut self, levels: usize) -> ControlFlow<()> {
        self.added.push(levels);
        self.enter(levels)
    }

    fn leave_counted(&mut self) -> ControlFlow<()> {
        self.depth -= self.added.pop().unwrap_or_default();
        ControlFlow::Continue(())
    }
}

/// A list to the parser, a chain of calls to the planner: `a[1][2]`.
fn levels(expr: &Expr) -> usize {
    match expr {
        Expr::CompoundFieldAccess { access_chain, .. } => 1 + access_chain.len(),
        _ => 1,
    }
}

/// How many times the rewriter writes the operand down.
fn copies(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Between { .. } => Some(2),
        Expr::Case {
            operand: Some(_),
            conditions,
            ..
        } => Some(conditions.len().max(1)),
        Expr::InList { expr, list, .. } if matches!(**expr, Expr::Tuple(_)) => Some(list.len().max(1)),
        _ => None,
    }
}

impl VisitorMut for Settling {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let links = balance(expr);
        self.longest_chain = self.longest_chain.max(links);
        if links > CHAIN_MAX {
            return ControlFlow::Break(());
        }
        if let Some(copies) = copies(expr) {
            let outside = self.copies.last().copied().unwrap_or(1);
            // One such construct, however many branches it has, copies what is not copied elsewhere.
            if !self.copies.is_empty() && outside.saturating_mul(copies) > COPIES_MAX {
                return ControlFlow::Break(());
            }
            self.copies.push(outside.saturating_mul(copies));
        }
        self.enter(levels(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if copies(expr).is_some() {
            self.copies.pop();
        }
        self.depth -= levels(expr);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let common = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        let mut operations = 0;
        let mut body = &*query.body;
        while let SetExpr::SetOperation { left, .. } = body {
            operations += 1;
            body = left;
        }
        self.enter_counted(QUERY_LEVELS + common + operations)
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.leave_counted()
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let tables = select.from.iter().map(|from| 1 + from.joins.len()).sum();
        self.enter_counted(tables)
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.leave_counted()
    }
}

/// Turns a long left-leaning chain of one AND or OR into a balanced tree; its operands keep their order. Tells how many
/// links the chain has.
fn balance(expr: &mut Expr) -> usize {
    let Expr::BinaryOp {
        op: op @ (BinaryOperator::And | BinaryOperator::Or),
        ..
    } = expr
    else {
        return 0;
    };
    let op = op.clone();
    let mut links = 0;
    let mut at = &*expr;
    while let Expr::BinaryOp { left, op: inner, .. } = at
        && *inner == op
    {
        links += 1;
        at = left;
    }
    if links < BALANCED_FROM {
        return links;
    }
    let mut operands = Vec::with_capacity(links + 1);
    let mut rest = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
    loop {
        match rest {
            Expr::BinaryOp { left, op: inner, right } if inner == op => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    operands.reverse();
    *expr = joined(operands, &op);
    links
}

/// The operands under a tree as low as possible. Pairs of neighbours are joined until one is left.
pub(super) fn joined(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while operands.len() > 1 {
        let mut pairs = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Expr::BinaryOp {
                    left: Box::new(left),
                    op: op.clone(),
                    right: Box::new(right),
                },
                None => left,
            });
        }
        operands = pairs;
    }
    operands.pop().unwrap_or_else(|| Expr::Identifier(Ident::new("")))
}

/// A future or stream about a statement, polled and dropped on a stack for its weight.
pub(super) struct Roomy<T> {
    /// None only while it is dropped.
    inner: Option<Pin<Box<T>>>,
    weight: Weight,
}

impl<T> Roomy<T> {
    pub fn new(weight: Weight, inner: T) -> Roomy<T> {
        Roomy {
            inner: Some(Box::pin(inner)),
            weight,
        }
    }

    fn with_room<R>(&mut self, work: impl FnOnce(&mut Option<Pin<Box<T>>>) -> R) -> R {
        if self.weight.is_usual() {
            return work(&mut self.inner);
        }
        let bytes = self.weight.stack_bytes();
        stacker::maybe_grow(bytes, bytes, || work(&mut self.inner))
    }
}

impl<T> Roomy<T> {
    /// Planning takes time that grows with more than the square of the depth: others should not wait for it.
    fn at_work<R>(&mut self, work: impl FnOnce(&mut Option<Pin<Box<T>>>) -> R) -> R {
        if self.weight.is_usual() {
            self.with_room(work)
        } else {
            runtime::busy(|| self.with_room(work))
        }
    }
}

impl<T: Future> Future for Roomy<T> {
    type Output = T::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        self.get_mut().at_work(|inner| match inner {
            Some(inner) => inner.as_mut().poll(cx),
            None => Poll::Pending,
        })
    }
}

impl<T: Stream> Stream for Roomy<T> {
    type Item = T::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        self.get_mut().at_work(|inner| match inner {
            Some(inner) => inner.as_mut().poll_next(cx),
            None => Poll::Ready(None),
        })
    }
}

impl<T> Drop for Roomy<T> {
    fn drop(&mut self) {
        self.with_room(|inner| drop(inner.take()));
    }
}

#[cfg(test)]
mod tests;
