//! User tables as DataFusion sees them, and which keys of them a query's conditions leave to be read.
//!
//! Only the columns a plan needs are decoded. Conditions on a prefix of the primary key become key ranges; they are still
//! checked above the scan, so a range may be wider than the condition but never narrower. Rows come in key order, and the
//! plan is told so where the key's byte order is the columns' order.

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;

use super::ROW_KEY_COLUMN;
use super::table_scan::{Extra, KeyRange, Source, TableRows, TableScanExec};
use super::{arrow, digits};
use crate::engine::Transaction;
use crate::sql::text::Cell;
use crate::sql::{PgType, types};
use crate::version::{ColumnType, TableName, TableSchema, Value, encode_key_values};

/// A table of a transaction's snapshot, with its uncommitted edits.
pub struct UserTable {
    transaction: Arc<Transaction>,
    name: TableName,
    table: Arc<TableSchema>,
    schema: SchemaRef,
    /// What the schema has behind the table's columns.
    extras: Vec<Extra>,
    /// The primary key, which lets GROUP BY name fewer columns.
    constraints: Constraints,
}

impl std::fmt::Debug for UserTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserTable({})", self.name)
    }
}

impl UserTable {
    /// With `row_key`, the last column is the row's key ([`ROW_KEY_COLUMN`]).
    pub fn new(transaction: Arc<Transaction>, name: TableName, table: Arc<TableSchema>, row_key: bool) -> UserTable {
        let columns = table.columns.iter().map(|column| {
            let pg_type = types::pg_type(column.column_type);
            arrow::field(
                &column.name,
                &pg_type,
                types::typmod(column.column_type),
                !column.not_null,
            )
        });
        let key = row_key.then(|| arrow::field(ROW_KEY_COLUMN, &PgType::BYTEA, -1, false));
        let schema = Arc::new(Schema::new(columns.chain(key).collect::<Vec<Field>>()));
        let key = (!table.primary_key.is_empty()).then(|| Constraint::PrimaryKey(table.primary_key.clone()));
        UserTable {
            transaction,
            name,
            table,
            schema,
            extras: if row_key { vec![Extra::RowKey] } else { Vec::new() },
            constraints: Constraints::new_unverified(key.into_iter().collect()),
        }
    }
}

impl UserTable {
    /// The same table with one more column: the digits behind the point of each numeric in this one.
    pub fn with_digits(&self, column: usize) -> UserTable {
        let name = digits::column_name(self.schema.field(column).name());
        let fields = self.schema.fields().iter().cloned();
        let digits = Arc::new(arrow::field(&name, &PgType::INT4, -1, true));
        UserTable {
            transaction: Arc::clone(&self.transaction),
            name: self.name.clone(),
            table: Arc::clone(&self.table),
            schema: Arc::new(Schema::new(fields.chain([digits]).collect::<Vec<_>>())),
            extras: self.extras.iter().copied().chain([Extra::Digits(column)]).collect(),
            constraints: self.constraints.clone(),
        }
    }
}

#[async_trait]
impl TableProvider for UserTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let narrows = |filter: &&Expr| !conditions(filter, &self.table).is_empty();
        Ok(filters
            .iter()
            .map(|filter| match narrows(filter) {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let schema = Arc::new(self.schema.project(&columns)?);
        let conditions: Vec<Condition> = filters
            .iter()
            .flat_map(|filter| conditions(filter, &self.table))
            .collect();
        let ranges = key_ranges(&self.table, &conditions);
        let ordering = key_ordering(&self.table, &columns);
        let rows = TableRows {
            transaction: Arc::clone(&self.transaction),
            name: self.name.clone(),
            schema,
            sources: columns
                .into_iter()
                .map(|position| match position.checked_sub(self.table.columns.len()) {
                    None => Source::Column(position),
                    Some(extra) => Source::Extra(self.extras[extra]),
                })
                .collect(),
            ranges,
            skip: 0,
            limit: if filters.is_empty() { limit } else { None },
        };
        Ok(Arc::new(TableScanExec::new(rows, ordering)))
    }
}

/// `column op value` for a column of the primary key.
#[derive(Clone, Debug, PartialEq)]
struct Condition {
    column: usize,
    op: Operator,
    /// One value, or for `Eq` the values of an IN list.
    values: Vec<Value>,
}

/// What a filter says about single columns of the primary key.
fn conditions(filter: &Expr, table: &TableSchema) -> Vec<Condition> {
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And,
            right,
        }) => {
            let mut found = conditions(left, table);
            found.extend(conditions(right, table));
            found
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let swapped = match op {
                Operator::Eq => Operator::Eq,
                Operator::Lt => Operator::Gt,
                Operator::LtEq => Operator::GtEq,
                Operator::Gt => Operator::Lt,
                Operator::GtEq => Operator::LtEq,
                _ => return Vec::new(),
            };
            let found = match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) => condition(&column.name, *op, &[value], table),
                (Expr::Literal(value, _), Expr::Column(column)) => condition(&column.name, swapped, &[value], table),
                _ => None,
            };
            found.into_iter().collect()
        }
        Expr::InList(InList {
            expr,
            list,
            negated: false,
        }) => {
            let Expr::Column(column) = expr.as_ref() else {
                return Vec::new();
            };
            let literals: Option<Vec<&ScalarValue>> = list
                .iter()
                .map(|item| match item {
                    Expr::Literal(value, _) => Some(value),
                    _ => None,
                })
                .collect();
            literals
                .and_then(|values| condition(&column.name, Operator::Eq, &values, table))
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

fn condition(name: &str, op: Operator, literals: &[&ScalarValue], table: &TableSchema) -> Option<Condition> {
    let column = table.position(name)?;
    if !table.primary_key.contains(&column) {
        return None;
    }
    let column_type = table.columns[column].column_type;
    let pg_type = types::pg_type(column_type);
    let data_type = arrow::arrow_type(&pg_type, types::typmod(column_type));
    let mut values = Vec::with_capacity(literals.len());
    for literal in literals {
        if literal.is_null() {
            // Never true: the filter above the scan sees to it.
            continue;
        }
        if literal.data_type() != data_type {
            return None;
        }
        let array = literal.to_array().ok()?;
        let value = arrow::value_of_cell(&Cell::of_array(&array, 0).ok()?, &pg_type).ok()?;
        values.push(value);
    }
    (values.len() == literals.len()).then_some(Condition { column, op, values })
}

/// Key ranges that hold every row the conditions allow: equalities on the key's first columns, then at most one column with
/// an IN list or with bounds.
fn key_ranges(table: &TableSchema, conditions: &[Condition]) -> Vec<KeyRange> {
    let mut types: Vec<ColumnType> = Vec::new();
    let mut prefix: Vec<Value> = Vec::new();
    for position in &table.primary_key {
        let here: Vec<&Condition> = conditions
            .iter()
            .filter(|condition| condition.column == *position)
            .collect();
        types.push(table.columns[*position].column_type);
        if let Some(equal) = here
            .iter()
            .find(|condition| condition.op == Operator::Eq && condition.values.len() == 1)
        {
            prefix.push(equal.values[0].clone());
            continue;
        }
        let key = |value: &Value| {
            let mut values = prefix.clone();
            values.push(value.clone());
            encode_key_values(&types, &values)
        };
        if let Some(list) = here.iter().find(|condition| condition.op == Operator::Eq) {
            let mut keys: Vec<Vec<u8>> = list.values.iter().map(key).collect();
            keys.sort();
            keys.dedup();
            return keys.into_iter().map(starting_with).collect();
        }
        let (mut from, mut to) = if prefix.is_empty() {
            (Bound::Unbounded, Bound::Unbounded)
        } else {
            starting_with(encode_key_values(&types[..prefix.len()], &prefix))
        };
        for bound in here {
            let key = key(&bound.values[0]);
            match bound.op {
                Operator::Gt => from = later(from, starting_with(key).1),
                Operator::GtEq => from = later(from, Bound::Included(key)),
                Operator::Lt => to = earlier(to, Bound::Excluded(key)),
                Operator::LtEq => to = earlier(to, starting_with(key).1),
                _ => {}
            }
        }
        return vec![(from, to)];
    }
    if prefix.is_empty() {
        return vec![(Bound::Unbounded, Bound::Unbounded)];
    }
    vec![starting_with(encode_key_values(&types, &prefix))]
}

/// All keys that begin with these bytes.
fn starting_with(prefix: Vec<u8>) -> KeyRange {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return (Bound::Included(prefix), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix), Bound::Unbounded)
}

/// The stricter of two lower bounds; `bound` may be an upper bound of a prefix, behind which the range begins.
fn later(current: Bound<Vec<u8>>, bound: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    let bound = match bound {
        Bound::Excluded(end) => Bound::Included(end),
        other => other,
    };
    match (&current, &bound) {
        (Bound::Unbounded, _) => bound,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b)) if b > a => bound,
        _ => current,
    }
}

/// The stricter of two upper bounds.
fn earlier(current: Bound<Vec<u8>>, bound: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match (&current, &bound) {
        (Bound::Unbounded, _) => bound,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) if b < a => bound,
        _ => current,
    }
}

/// The order the scan's rows come in, as far as the projected columns can tell it.
fn key_ordering(table: &TableSchema, columns: &[usize]) -> Option<LexOrdering> {
    let ascending = SortOptions {
        descending: false,
        nulls_first: false,
    };
    let sorted = table.primary_key.iter().map_while(|position| {
        // Equal floats and padded texts may differ in their bytes.
        let same_order = !matches!(
            table.columns[*position].column_type,
            ColumnType::Float4 | ColumnType::Float8 | ColumnType::Char(_) | ColumnType::Json | ColumnType::Jsonb
        );
        let at = columns
            .iter()
            .position(|column| column == position)
            .filter(|_| same_order)?;
        let column = PhysicalColumn::new(&table.columns[*position].name, at);
        Some(PhysicalSortExpr::new(Arc::new(column), ascending))
    });
    LexOrdering::new(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Column;

    fn table() -> TableSchema {
        let column = |name: &str, column_type| Column {
            name: name.into(),
            column_type,
            not_null: true,
            default: None,
        };
        TableSchema {
            columns: vec![
                column("v", ColumnType::Text),
                column("a", ColumnType::Int4),
                column("b", ColumnType::Int4),
            ],
            primary_key: vec![1, 2],
        }
    }

    fn key(values: &[i32]) -> Vec<u8> {
        let types = vec![ColumnType::Int4; values.len()];
        encode_key_values(
            &types,
            &values.iter().map(|value| Value::Int4(*value)).collect::<Vec<_>>(),
        )
    }

    fn inside(range: &KeyRange, key: &[u8]) -> bool {
        let after = match &range.0 {
            Bound::Included(from) => key >= from.as_slice(),
            Bound::Excluded(from) => key > from.as_slice(),
            Bound::Unbounded => true,
        };
        let before = match &range.1 {
            Bound::Included(to) => key <= to.as_slice(),
            Bound::Excluded(to) => key < to.as_slice(),
            Bound::Unbounded => true,
        };
        after && before
    }

    /// Every key that satisfies the conditions lies in a range, and ranges are as narrow as the key allows.
    #[test]
    fn ranges_hold_exactly_the_keys_that_the_conditions_allow() {
        use datafusion::logical_expr::{col, lit};
        let cases: Vec<(Expr, fn(i32, i32) -> bool)> = vec![
            (col("a").eq(lit(2i32)), |a, _| a == 2),
            (col("a").gt(lit(2i32)), |a, _| a > 2),
            (col("a").gt_eq(lit(-1i32)).and(col("a").lt(lit(3i32))), |a, _| {
                (-1..3).contains(&a)
            }),
            (col("a").lt_eq(lit(0i32)), |a, _| a <= 0),
            (lit(1i32).lt(col("a")), |a, _| a > 1),
            (col("a").eq(lit(1i32)).and(col("b").gt(lit(0i32))), |a, b| {
                a == 1 && b > 0
            }),
            (col("a").eq(lit(1i32)).and(col("b").eq(lit(3i32))), |a, b| {
                a == 1 && b == 3
            }),
            (
                col("a").in_list(vec![lit(3i32), lit(-2i32), lit(3i32)], false),
                |a, _| a == 3 || a == -2,
            ),
            (col("b").eq(lit(1i32)), |_, _| true),
            (col("v").eq(lit("x")), |_, _| true),
        ];
        for (filter, allowed) in cases {
            let ranges = key_ranges(&table(), &conditions(&filter, &table()));
            for a in -3..=4 {
                for b in -3..=4 {
                    let found = ranges.iter().filter(|range| inside(range, &key(&[a, b]))).count();
                    assert_eq!(found, usize::from(allowed(a, b)), "{filter} at ({a}, {b})");
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_key_is_told_as_far_as_it_is_projected() {
        assert_eq!(key_ordering(&table(), &[1, 2]).map(|ordering| ordering.len()), Some(2));
        assert_eq!(
            key_ordering(&table(), &[2, 0, 1]).map(|ordering| ordering.len()),
            Some(2)
        );
        assert_eq!(key_ordering(&table(), &[1]).map(|ordering| ordering.len()), Some(1));
        assert!(key_ordering(&table(), &[0, 2]).is_none());
    }
}
