//! Point operations: what can be answered from keys and single rows, without planning.
//!
//! This is what an application does all day, so it costs microseconds: the condition gives the key ([`keys`]), the key
//! gives the row, the outputs are computed by a small evaluator ([`expression`]). Whatever is declined here goes through
//! a plan and gives the same answer.

pub mod expression;
pub mod keys;
pub mod operators;
pub mod projection;
pub mod select;
