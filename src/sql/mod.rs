//! PostgreSQL's dialect: sessions, definitions, point operations, DataFusion, the `dolt_*` functions.

pub mod error;

pub use error::{SqlError, SqlErrorKind};
