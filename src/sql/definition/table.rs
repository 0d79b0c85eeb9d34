//! CREATE TABLE and DROP TABLE.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, CreateTableOptions, Expr, HiveDistributionStyle, IndexColumn, ObjectName,
    PrimaryKeyConstraint, SqlOption, TableConstraint, Value as Constant,
};

use super::{done, skipped};
use crate::sql::cast;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names;
use crate::sql::names::folded;
use crate::sql::point::expression::{Compiler, Declined, ParameterTypes};
use crate::sql::result::{NoticeKind, PgType, QueryResult};
use crate::sql::session::Session;
use crate::sql::text::{self, Style};
use crate::sql::types::{column_type, pg_type};
use crate::version::{Column, ColumnType, TableSchema};

/// Most columns of a table, PostgreSQL's limit.
const COLUMNS_MAX: usize = 1600;

impl Session {
    pub(in crate::sql) fn create_table(&mut self, create: &CreateTable) -> Result<QueryResult, SqlError> {
        refuse_clauses(create)?;
        let schema = self.table_schema(create)?;
        let settings = Arc::clone(&self.settings);
        let database = self.database_name.clone();
        let transaction = self.edit()?;
        let name = names::place(transaction, &settings, &database, &create.name)?;
        if transaction.table_schema(&name)?.is_some() {
            if create.if_not_exists {
                let message = format!("relation \"{}\" already exists, skipping", name.name);
                self.notice(skipped(NoticeKind::DuplicateTable, message));
                return Ok(done("CREATE TABLE"));
            }
            return Err(SqlError::new(
                SqlErrorKind::DuplicateTable,
                format!("relation \"{}\" already exists", name.name),
            ));
        }
        transaction.create_table(&name, schema)?;
        Ok(done("CREATE TABLE"))
    }

    fn table_schema(&self, create: &CreateTable) -> Result<TableSchema, SqlError> {
        if create.columns.len() > COLUMNS_MAX {
            return Err(SqlError::new(
                SqlErrorKind::LimitExceeded,
                format!("tables can have at most {COLUMNS_MAX} columns"),
            ));
        }
        let mut columns: Vec<Column> = Vec::with_capacity(create.columns.len());
        let mut primary_key: Option<Vec<usize>> = None;
        let two_keys = || {
            SqlError::new(
                SqlErrorKind::InvalidTableDefinition,
                format!("multiple primary keys for table \"{}\" are not allowed", create.name),
            )
        };
        for definition in &create.columns {
            let (column, is_key) = self.column(definition)?;
            if columns.iter().any(|other| other.name == column.name) {
                return Err(SqlError::new(
                    SqlErrorKind::DuplicateColumn,
                    format!("column \"{}\" specified more than once", column.name),
                ));
            }
            if is_key && primary_key.replace(vec![columns.len()]).is_some() {
                return Err(two_keys());
            }
            columns.push(column);
        }
        for constraint in &create.constraints {
            let TableConstraint::PrimaryKey(key) = constraint else {
                return Err(SqlError::unsupported(constraint_name(constraint)));
            };
            if primary_key.replace(key_positions(key, &columns)?).is_some() {
                return Err(two_keys());
            }
        }
        let primary_key = primary_key.unwrap_or_default();
        for position in &primary_key {
            let column = &mut columns[*position];
            if matches!(column.column_type, ColumnType::Json | ColumnType::Jsonb) {
                return Err(SqlError::unsupported(format_args!(
                    "a primary key of json (column \"{}\")",
                    column.name
                )));
            }
            column.not_null = true;
        }
        Ok(TableSchema { columns, primary_key })
    }

    fn column(&self, definition: &ColumnDef) -> Result<(Column, bool), SqlError> {
        let name = folded(&definition.name);
        names::check_new(&name)?;
        let mut column = Column {
            name,
            column_type: column_type(&definition.data_type)?,
            not_null: false,
            default: None,
        };
        let mut is_key = false;
        let mut nullable = false;
        for option in &definition.options {
            match &option.option {
                ColumnOption::Null => nullable = true,
                ColumnOption::NotNull => column.not_null = true,
                ColumnOption::Default(expression) => {
                    let text = self.default_text(expression, &column)?;
                    column.default = Some(text);
                }
                ColumnOption::PrimaryKey(_) => is_key = true,
                ColumnOption::Unique(_) => return Err(SqlError::unsupported("UNIQUE")),
                ColumnOption::ForeignKey(_) => return Err(SqlError::unsupported("FOREIGN KEY")),
                ColumnOption::Check(_) => return Err(SqlError::unsupported("CHECK")),
                ColumnOption::Generated {
                    generation_expr: Some(_),
                    ..
                } => {
                    return Err(SqlError::unsupported("a generated column"));
                }
                ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                    return Err(SqlError::unsupported("an identity column")
                        .hint("Declare the column as integer or bigint and give its values."));
                }
                ColumnOption::Collation(name) => {
                    let plain = names::parts(name)?.pop().unwrap_or_default();
                    if !["C", "POSIX", "default", "ucs_basic"].contains(&plain.as_str()) {
                        return Err(SqlError::unsupported(format_args!("collation {name}")));
                    }
                }
                other => return Err(SqlError::unsupported(format_args!("{other} in a column's definition"))),
            }
        }
        if nullable && (column.not_null || is_key) {
            return Err(SqlError::new(
                SqlErrorKind::Syntax,
                format!("conflicting NULL/NOT NULL declarations for column \"{}\"", column.name),
            ));
        }
        Ok((column, is_key))
    }

    /// A default as it is kept. One that could never be assigned is refused when it is made, not at the first insert.
    fn default_text(&self, expression: &Expr, column: &Column) -> Result<String, SqlError> {
        let surroundings = self.surroundings();
        let mut compiler = Compiler::new(&[], &surroundings, ParameterTypes::default());
        match compiler.compile(expression, Some(&pg_type(column.column_type))) {
            Ok(compiled) => {
                let value = compiled.evaluate(&[], &[])?;
                let value = cast::assign(value, &compiled.pg_type, column, &surroundings.style)?;
                // A constant moment was meant in the zone of this session, not in that of whoever inserts a row.
                if pg_type(column.column_type) == PgType::TIMESTAMPTZ
                    && matches!(compiled.pg_type, PgType::UNKNOWN | PgType::TIMESTAMPTZ)
                    && is_quoted(expression)
                    && let Some(text) = text::to_text(&value, &PgType::TIMESTAMPTZ, &Style::DEFAULT)
                {
                    return Ok(format!("'{text}'"));
                }
                Ok(expression.to_string())
            }
            Err(Declined::Wrong(error)) => Err(error),
            // Columns are the one thing no default may name; other expressions are tried when they are needed.
            Err(Declined::NeedsPlan) => match expression {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Err(SqlError::new(
                    SqlErrorKind::Unsupported,
                    "cannot use column reference in DEFAULT expression",
                )),
                Expr::Subquery(_) | Expr::Exists { .. } => Err(SqlError::new(
                    SqlErrorKind::Unsupported,
                    "cannot use subquery in DEFAULT expression",
                )),
                _ => Ok(expression.to_string()),
            },
        }
    }

    pub(super) fn drop_tables(
        &mut self,
        names: &[ObjectName],
        if_exists: bool,
        _cascade: bool,
    ) -> Result<QueryResult, SqlError> {
        // Nothing depends on a table here, so CASCADE and RESTRICT mean the same.
        let settings = Arc::clone(&self.settings);
        let database = self.database_name.clone();
        for name in names {
            let transaction = self.edit()?;
            match names::find(transaction, &settings, &database, name)? {
                Some((table, _)) => transaction.drop_table(&table)?,
                None if if_exists => {
                    let shown = names::parts(name)?.join(".");
                    let message = format!("table \"{shown}\" does not exist, skipping");
                    self.notice(skipped(NoticeKind::Skipped, message));
                }
                None => {
                    let shown = names::parts(name)?.join(".");
                    return Err(SqlError::new(
                        SqlErrorKind::UndefinedTable,
                        format!("table \"{shown}\" does not exist"),
                    ));
                }
            }
        }
        Ok(done("DROP TABLE"))
    }
}

/// A constant in quotes, with or without its type.
fn is_quoted(expression: &Expr) -> bool {
    let quoted =
        |expr: &Expr| matches!(expr, Expr::Value(value) if matches!(value.value, Constant::SingleQuotedString(_)));
    match expression {
        Expr::TypedString(_) => true,
        Expr::Cast { expr, .. } => quoted(expr),
        other => quoted(other),
    }
}

fn key_positions(key: &PrimaryKeyConstraint, columns: &[Column]) -> Result<Vec<usize>, SqlError> {
    let mut positions: Vec<usize> = Vec::with_capacity(key.columns.len());
    for IndexColumn { column, .. } in &key.columns {
        let Expr::Identifier(name) = &column.expr else {
            return Err(SqlError::unsupported(format_args!("{column} in PRIMARY KEY")));
        };
        let name = folded(name);
        let position = columns.iter().position(|column| column.name == name).ok_or_else(|| {
            SqlError::new(
                SqlErrorKind::UndefinedColumn,
                format!("column \"{name}\" named in key does not exist"),
            )
        })?;
        if positions.contains(&position) {
            return Err(SqlError::new(
                SqlErrorKind::DuplicateColumn,
                format!("column \"{name}\" appears twice in primary key constraint"),
            ));
        }
        positions.push(position);
    }
    Ok(positions)
}

fn constraint_name(constraint: &TableConstraint) -> &'static str {
    match constraint {
        TableConstraint::Unique(_) => "UNIQUE",
        TableConstraint::ForeignKey(_) => "FOREIGN KEY",
        TableConstraint::Check(_) => "CHECK",
        _ => "this table constraint",
    }
}

fn is_tablespace(option: &SqlOption) -> bool {
    match option {
        SqlOption::TableSpace(_) => true,
        SqlOption::KeyValue { key, .. } => key.value.eq_ignore_ascii_case("tablespace"),
        _ => false,
    }
}

fn refuse_clauses(create: &CreateTable) -> Result<(), SqlError> {
    let unknown = [
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.external, "CREATE EXTERNAL TABLE"),
        (create.query.is_some(), "CREATE TABLE AS"),
        (create.like.is_some(), "CREATE TABLE (LIKE ...)"),
        (create.clone.is_some(), "CREATE TABLE ... CLONE"),
        (create.inherits.is_some(), "INHERITS"),
        (
            create.partition_by.is_some() || create.partition_of.is_some(),
            "a partitioned table",
        ),
        (create.on_commit.is_some(), "ON COMMIT"),
        (create.comment.is_some(), "COMMENT in CREATE TABLE"),
        (
            matches!(&create.table_options, CreateTableOptions::Plain(options) if options.iter().any(is_tablespace)),
            "TABLESPACE",
        ),
        (
            !matches!(create.table_options, CreateTableOptions::None),
            "storage parameters of a table",
        ),
        (
            !matches!(create.hive_distribution, HiveDistributionStyle::NONE),
            "PARTITIONED BY",
        ),
        (create.without_rowid, "WITHOUT ROWID"),
        (
            create.cluster_by.is_some() || create.clustered_by.is_some(),
            "CLUSTER BY",
        ),
        (create.order_by.is_some(), "ORDER BY in CREATE TABLE"),
        (create.strict, "STRICT"),
    ];
    match unknown.iter().find(|(present, _)| *present) {
        Some((_, construct)) => Err(SqlError::unsupported(construct)),
        None => Ok(()),
    }
}
