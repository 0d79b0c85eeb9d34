//! PostgreSQL's wire protocol.

pub mod encode;
pub mod types;
