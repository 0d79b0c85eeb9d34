//! What the session's time zone decides inside plans: fields and beginnings of `timestamptz`, intervals added to it,
//! AT TIME ZONE, and the casts DataFusion puts in by itself, which it would compute in UTC.
//!
//! Invariants
//! - Columns of `timestamptz` hold moments in UTC, whatever the session's zone: only these functions and casts look at it.
//! - What would be computed in UTC where PostgreSQL takes the session's zone is refused.
//!
//! Must not know: how a zone is set, the catalog.

mod analysed;
mod at_time_zone;
mod field;
mod moved;

use datafusion::arrow::datatypes::DataType;

use super::arrow;
use crate::sql::cast::timestamp_out_of_range;
use crate::sql::text::datetime::unknown_zone;
use crate::sql::text::zone::Zone;
use crate::sql::{PgType, SqlError};

pub use analysed::{Series, in_zone, with_common_types};
pub use at_time_zone::AtTimeZone;
pub use field::InZone;
pub use moved::moved;

/// Whether columns of the type are moments.
fn is_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

fn moments() -> DataType {
    arrow::arrow_type(&PgType::TIMESTAMPTZ, -1)
}

fn clocks() -> DataType {
    arrow::arrow_type(&PgType::TIMESTAMP, -1)
}

fn to_local(zone: &Zone, micros: i64) -> Result<i64, SqlError> {
    zone.to_local(micros).ok_or_else(timestamp_out_of_range)
}

fn to_utc(zone: &Zone, local: i64) -> Result<i64, SqlError> {
    zone.to_utc(local).ok_or_else(timestamp_out_of_range)
}

/// A zone as AT TIME ZONE says it.
fn spoken(name: &str) -> Result<Zone, SqlError> {
    Zone::spoken(name).ok_or_else(|| unknown_zone(name))
}
