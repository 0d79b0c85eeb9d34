//! PostgreSQL's dialect: sessions, definitions, point operations, DataFusion, the `dolt_*` functions.
//!
//! A [`Session`] is what one client does, one statement after another. Text is parsed once and goes one of four ways:
//! session and transaction control ([`session`], [`settings`]), definitions ([`definition`]), point operations executed
//! directly over the transaction ([`point`]), and everything else through DataFusion ([`plan`]). Writes of every way end
//! in the same edit set of the same engine transaction.
//!
//! This layer knows nothing of bytes on a wire: statements come in as text and values, results leave as values and Arrow
//! batches with PostgreSQL types beside them.

pub mod cast;
mod catalog;
mod definition;
mod depth;
mod dialect;
mod dml;
mod engine_error;
pub mod error;
mod functions;
mod mention;
pub mod names;
pub mod parse;
pub mod plan;
pub mod point;
pub mod result;
mod scope;
pub mod session;
pub mod settings;
pub mod text;
pub mod types;

pub use error::{SqlError, SqlErrorKind};
pub use result::{
    CommandTag, CopyInput, FieldInfo, Notice, NoticeKind, NoticeSeverity, PgType, QueryResult, ResultSink, RowBatch,
    RowStream, TransactionStatus,
};
pub use session::{Deallocated, Prepared, ServerSettings, Session, SessionStart};
