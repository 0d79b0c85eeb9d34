//! What went wrong inside a plan, said in PostgreSQL's words.
//!
//! Functions of ours raise [`SqlError`] and carry it through DataFusion unharmed; what DataFusion itself finds wrong is
//! recognised by its kind and, where the kind says too little, by its words, which the tests pin down.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::sql::error::Mention;
use crate::sql::{SqlError, SqlErrorKind};

/// Wraps one of our errors for the way through DataFusion.
pub fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The client's error for what DataFusion reports.
pub fn from_datafusion(error: DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<SqlError>() {
            Ok(ours) => *ours,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(nested) => from_datafusion(*nested),
                Err(other) => foreign(&other.to_string()),
            },
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(inner) => from_datafusion(inner),
            Err(shared) => from_shared(&shared),
        },
        DataFusionError::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.swap_remove(0)),
        DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
        DataFusionError::SchemaError(inner, _) => from_schema(&inner),
        DataFusionError::SQL(inner, _) => SqlError::new(SqlErrorKind::Syntax, inner.to_string()),
        DataFusionError::ResourcesExhausted(_) => out_of_memory(),
        DataFusionError::NotImplemented(words) => unsupported(&words),
        DataFusionError::Plan(words) | DataFusionError::Execution(words) => from_words(&words),
        DataFusionError::Internal(words) => SqlError::new(
            SqlErrorKind::Unsupported,
            "this combination of expressions is not supported",
        )
        .detail(plain(words.split("\n").next().unwrap_or_default())),
        other => SqlError::internal(plain(&other.strip_backtrace())),
    }
}

/// A shared error cannot be taken apart; what it says is still ours to translate.
fn from_shared(error: &DataFusionError) -> SqlError {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(ours) => ours.clone(),
            None => foreign(&inner.to_string()),
        },
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::ResourcesExhausted(_) => out_of_memory(),
        DataFusionError::Plan(words) | DataFusionError::Execution(words) => from_words(words),
        DataFusionError::NotImplemented(words) => unsupported(words),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::DivideByZero => division_by_zero(),
            ArrowError::ArithmeticOverflow(_) => out_of_range(),
            other if is_regex(&other.to_string()) => invalid_regex(&other.to_string()),
            other => SqlError::new(SqlErrorKind::Data, plain(&other.to_string())),
        },
        other => SqlError::internal(plain(&other.strip_backtrace())),
    }
}

fn from_arrow(error: ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<SqlError>() {
            Ok(ours) => *ours,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(nested) => from_datafusion(*nested),
                Err(other) => foreign(&other.to_string()),
            },
        },
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(_) => out_of_range(),
        ArrowError::CastError(words) | ArrowError::ParseError(words) => {
            SqlError::new(SqlErrorKind::InvalidText, plain(&words))
        }
        ArrowError::MemoryError(_) | ArrowError::OffsetOverflowError(_) => out_of_memory(),
        other if is_regex(&other.to_string()) => invalid_regex(&other.to_string()),
        other => SqlError::new(SqlErrorKind::Data, plain(&other.to_string())),
    }
}

/// An error that is neither ours nor the planner's.
fn foreign(words: &str) -> SqlError {
    if is_regex(words) {
        invalid_regex(words)
    } else {
        SqlError::internal(words)
    }
}

fn is_regex(words: &str) -> bool {
    words.contains("regex parse error") || words.contains("Regular expression did not compile")
}

/// What is wrong stands in the last line, behind a picture of where.
fn invalid_regex(words: &str) -> SqlError {
    let reason = words
        .lines()
        .filter_map(|line| line.trim().strip_prefix("error: "))
        .next_back()
        .unwrap_or("it cannot be compiled");
    let reason = match reason {
        "unclosed group" | "unopened group" => "parentheses () not balanced",
        "unclosed character class" => "brackets [] not balanced",
        reason if reason.starts_with("invalid character class range") => "invalid character range",
        reason if reason.starts_with("repetition operator missing") => "quantifier operand invalid",
        reason => reason,
    };
    SqlError::new(
        SqlErrorKind::InvalidRegex,
        format!("invalid regular expression: {reason}"),
    )
}

pub fn out_of_memory() -> SqlError {
    SqlError::new(SqlErrorKind::OutOfMemory, "out of memory")
        .detail("What the queries of this server hold together would exceed performance.query_memory_bytes.")
        .hint("Let the query sort, group or join fewer rows, try again when others have ended, or raise the limit.")
}

pub fn division_by_zero() -> SqlError {
    SqlError::new(SqlErrorKind::DivisionByZero, "division by zero")
}

fn out_of_range() -> SqlError {
    SqlError::new(SqlErrorKind::NumericOutOfRange, "value out of range")
}

fn from_schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let Some(relation) = &field.relation else {
                return SqlError::undefined_column(&field.name);
            };
            // Names of the planner's own, of a subquery that it did not take apart well.
            if ["__correlated_sq_", "__scalar_sq_"]
                .iter()
                .any(|own| relation.table().starts_with(own))
            {
                return SqlError::unsupported(OUTER_REFERENCE);
            }
            let relation_known = valid_fields.iter().any(|valid| {
                valid
                    .relation
                    .as_ref()
                    .is_some_and(|known| known.table() == relation.table())
            });
            let mention = Mention::Column {
                relation: Some(relation.table().to_string()),
                name: field.name.clone(),
            };
            // Without any candidates nothing tells a wrong column from a wrong table.
            if relation_known || valid_fields.is_empty() {
                SqlError::new(
                    SqlErrorKind::UndefinedColumn,
                    format!("column {}.{} does not exist", relation.table(), field.name),
                )
                .mention(mention)
            } else {
                SqlError::new(
                    SqlErrorKind::UndefinedTable,
                    format!("missing FROM-clause entry for table \"{}\"", relation.table()),
                )
                .mention(mention)
            }
        }
        SchemaError::AmbiguousReference { field } => SqlError::ambiguous_column(&field.name),
        SchemaError::DuplicateQualifiedField { qualifier, .. } => SqlError::new(
            SqlErrorKind::UndefinedTable,
            format!("table name \"{}\" specified more than once", qualifier.table()),
        ),
        SchemaError::DuplicateUnqualifiedField { name } => SqlError::ambiguous_column(name),
    }
}

/// DataFusion says much by words alone. Left: what tells the case; right: what the client gets.
fn from_words(words: &str) -> SqlError {
    let first_line = words.lines().next().unwrap_or(words);
    let quoted = |mark: char| {
        let from = first_line.find(mark)? + 1;
        let to = first_line[from..].find(mark)?;
        Some(first_line[from..from + to].to_string())
    };
    let has = |part: &str| words.contains(part);
    if is_regex(words) {
        return invalid_regex(words);
    }
    if has("Divide by zero") || has("divide by zero") || has("DivideByZero") {
        return division_by_zero();
    }
    if has("must be in GROUP BY") || has("references non-aggregate values") || has("must appear in the GROUP BY clause")
    {
        let column = quoted('"').map_or_else(|| "it".to_string(), |column| format!("\"{column}\""));
        return SqlError::new(
            SqlErrorKind::Grouping,
            format!("column {column} must appear in the GROUP BY clause or be used in an aggregate function"),
        );
    }
    if has("non-boolean predicate") {
        let found = first_line.rsplit(' ').next().unwrap_or_default();
        let words = match found {
            "Int16" => "smallint",
            "Int32" => "integer",
            "Int64" => "bigint",
            "Float64" => "double precision",
            "Utf8" => "text",
            other if other.starts_with("Decimal") => "numeric",
            _ => "another one",
        };
        return SqlError::new(
            SqlErrorKind::DatatypeMismatch,
            format!("argument of WHERE must be type boolean, not type {words}"),
        );
    }
    if has("Decimal scale") || has("Decimal precision") || has("too large to store") || has("Cannot parse") {
        return SqlError::new(SqlErrorKind::NumericOutOfRange, "numeric constant has too many digits");
    }
    if has("Aggregate functions are not allowed") || has("aggregate functions are not allowed") {
        return SqlError::new(SqlErrorKind::Grouping, "aggregate functions are not allowed in WHERE");
    }
    if has("Invalid function") {
        let name = quoted('\'').unwrap_or_default();
        return undefined_function(&name);
    }
    if has("No function matches")
        || has("Failed to coerce arguments")
        || has("coercion from")
        || has("does not support zero arguments")
        || (has("Function '") && has("expect"))
    {
        let call = quoted('\'').unwrap_or_else(|| "with these arguments".to_string());
        return undefined_function(call.split('(').next().unwrap_or(&call));
    }
    if has("Cannot coerce") || has("Cannot infer common argument type") || has("not comparable") {
        return SqlError::new(
            SqlErrorKind::DatatypeMismatch,
            "the types of the expressions cannot be matched",
        )
        .detail(plain(first_line));
    }
    if has("different number of columns") || has("same number of columns") || has("number of columns") && has("UNION") {
        return SqlError::new(
            SqlErrorKind::Syntax,
            "each UNION query must have the same number of columns",
        );
    }
    if has("Scalar subquery should only return one column") || has("should only return one column") {
        return SqlError::new(SqlErrorKind::Syntax, "subquery must return only one column");
    }
    if has("more than one row") || has("Too many rows") {
        return more_than_one_row();
    }
    if has("Ambiguous reference") {
        return SqlError::ambiguous_column(quoted('\'').unwrap_or_default());
    }
    if has("Cannot cast") || has("Unsupported CAST") {
        return SqlError::new(SqlErrorKind::CannotCoerce, plain(first_line));
    }
    if has("Overflow happened") || has("overflow") {
        return out_of_range();
    }
    if has("specified more than once") {
        let name = quoted('"').or_else(|| quoted('\'')).unwrap_or_default();
        return SqlError::new(
            SqlErrorKind::UndefinedTable,
            format!("table name \"{name}\" specified more than once"),
        );
    }
    unsupported(first_line)
}

const OUTER_REFERENCE: &str = "a subquery or LATERAL that refers in this way to the query around it";

/// Names what the planner cannot do as who wrote it calls it.
fn unsupported(words: &str) -> SqlError {
    let has = |part: &str| words.contains(part);
    let construct = if has("OuterReferenceColumn") {
        OUTER_REFERENCE
    } else if has("logical expression InSubquery") {
        "IN (SELECT ...) in this place"
    } else if has("logical expression Exists") {
        "EXISTS, ANY or ALL of a subquery in this place"
    } else if has("logical expression ScalarSubquery") {
        "a subquery in this place"
    } else if has("supported in tuples") || has("Struct(") {
        "a row as a value"
    } else if let Some(node) = words.split("Unsupported ast node in sqltorel: ").nth(1) {
        return SqlError::unsupported(spoken(node));
    } else {
        return SqlError::new(SqlErrorKind::Unsupported, plain(words));
    };
    SqlError::unsupported(construct)
}

/// The name of a node of the syntax tree, `IsNormalized { .. }`, as it is written: `IS NORMALIZED`.
fn spoken(node: &str) -> String {
    let mut name = String::new();
    for c in node.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push(' ');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// 42883. The name comes with or without the types of its arguments: `f` or `f(text)`.
pub fn undefined_function(name: &str) -> SqlError {
    let bare = name.split('(').next().unwrap_or(name);
    SqlError::new(
        SqlErrorKind::UndefinedFunction,
        format!("function {name} does not exist"),
    )
    .mention(Mention::Function(bare.to_string()))
    .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

pub fn more_than_one_row() -> SqlError {
    SqlError::new(
        SqlErrorKind::Cardinality,
        "more than one row returned by a subquery used as an expression",
    )
}

/// Takes the planner's own names out of a sentence for users.
fn plain(words: &str) -> String {
    let mut words = words.split("\n\nbacktrace:").next().unwrap_or(words).trim();
    for prefix in [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Execution error: ",
        "Internal error: ",
        "Arrow error: ",
        "DataFusion error: ",
        "Cast error: ",
        "Parser error: ",
        "Invalid argument error: ",
    ] {
        words = words.strip_prefix(prefix).unwrap_or(words);
    }
    let words = words
        .split(". This issue was likely caused by a bug")
        .next()
        .unwrap_or(words);
    words.replace("DataFusion", "the planner").replace('\u{1}', "")
}
