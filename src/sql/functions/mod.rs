//! Functions that act: `dolt_commit`, `dolt_add`, `dolt_assume_cluster_role`, `set_config`, ...
//!
//! They change the session, the transaction or the server, so they are no part of a query: they are called alone, as
//! `SELECT f(...)`, `SELECT * FROM f(...)` or `CALL f(...)`. Functions that only compute belong to the plan.

mod cluster;
mod commit;
mod maintenance;
mod options;
pub(in crate::sql) mod scalar;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, ObjectName, Query, SelectItem,
    SetExpr, TableFactor,
};

use super::error::{SqlError, SqlErrorKind};
use super::point::expression::{Compiler, Declined, ParameterTypes, plain_arguments};
use super::result::{CommandTag, FieldInfo, PgType, QueryResult, RowStream};
use super::session::{Parameters, Running, Session};
use super::text;
use crate::sql::names::folded;
use crate::version::Value;

/// The functions of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) enum Acting {
    AssumeClusterRole,
    Commit,
    Add,
    Backup,
    CollectGarbage,
    SetConfig,
    TerminateBackend,
    /// Specified, but not here: the name says what is missing.
    Missing(&'static str),
}

/// Name, function, name of its column when called in FROM, and the column's type. Sorted by name.
const FUNCTIONS: &[(&str, Acting, &str, PgType)] = &[
    ("dolt_add", Acting::Add, "status", PgType::INT8),
    (
        "dolt_assume_cluster_role",
        Acting::AssumeClusterRole,
        "dolt_assume_cluster_role",
        PgType::INT8,
    ),
    ("dolt_backup", Acting::Backup, "status", PgType::INT8),
    ("dolt_commit", Acting::Commit, "hash", PgType::TEXT),
    ("dolt_gc", Acting::CollectGarbage, "status", PgType::INT8),
    (
        "pg_terminate_backend",
        Acting::TerminateBackend,
        "pg_terminate_backend",
        PgType::BOOL,
    ),
    ("set_config", Acting::SetConfig, "set_config", PgType::TEXT),
];

/// Functions of the specification that this server does not have; told apart from names nobody knows.
const MISSING: &[&str] = &[
    "dolt_branch",
    "dolt_checkout",
    "dolt_cherry_pick",
    "dolt_clean",
    "dolt_clone",
    "dolt_cluster_fetch_displaced",
    "dolt_cluster_release_displaced",
    "dolt_cluster_transition_to_standby",
    "dolt_conflicts_resolve",
    "dolt_count_commits",
    "dolt_fetch",
    "dolt_merge",
    "dolt_pull",
    "dolt_purge_dropped_databases",
    "dolt_push",
    "dolt_rebase",
    "dolt_remote",
    "dolt_reset",
    "dolt_revert",
    "dolt_rm",
    "dolt_squash_history",
    "dolt_stash",
    "dolt_tag",
    "dolt_thread_dump",
    "dolt_undrop",
    "dolt_update_column_tag",
    "dolt_verify_constraints",
];

/// A call of such a function, as a whole statement.
pub(in crate::sql) struct Call<'a> {
    acting: Acting,
    name: &'static str,
    arguments: Vec<&'a Expr>,
    pub field: FieldInfo,
}

impl Call<'_> {
    pub fn acting(&self) -> Acting {
        self.acting
    }

    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The call that the query is, if it is one.
pub(in crate::sql) fn call_of_query(query: &Query) -> Option<Call<'_>> {
    let bare =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if !bare || select.selection.is_some() || !ungrouped || select.distinct.is_some() || select.having.is_some() {
        return None;
    }
    match (select.projection.as_slice(), select.from.as_slice()) {
        ([SelectItem::UnnamedExpr(Expr::Function(function))], []) => call_of_function(function),
        (
            [
                SelectItem::ExprWithAlias {
                    expr: Expr::Function(function),
                    alias,
                },
            ],
            [],
        ) => {
            let mut call = call_of_function(function)?;
            call.field.name = folded(alias);
            Some(call)
        }
        ([SelectItem::Wildcard(_)], [from]) if from.joins.is_empty() => match &from.relation {
            TableFactor::Table {
                name,
                args: Some(arguments),
                ..
            } => call_with(name, &arguments.args),
            TableFactor::Function { name, args, .. } => call_with(name, args),
            _ => None,
        },
        _ => None,
    }
}

/// `SELECT * FROM f(...)`.
fn call_with<'a>(name: &ObjectName, arguments: &'a [FunctionArg]) -> Option<Call<'a>> {
    let (name, acting, column, pg_type) = function_named(&name.to_string())?;
    let expressions = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    });
    Some(Call {
        acting,
        name,
        arguments: expressions.collect::<Option<Vec<_>>>()?,
        field: FieldInfo::new(column, pg_type),
    })
}

/// The call itself, as `SELECT f(...)` and `CALL f(...)` have it: the column is named like the function.
pub(in crate::sql) fn call_of_function(function: &Function) -> Option<Call<'_>> {
    let (name, acting, _, pg_type) = function_named(&function.name.to_string())?;
    let arguments = match &function.args {
        FunctionArguments::None => Vec::new(),
        _ => plain_arguments(function)?,
    };
    Some(Call {
        acting,
        name,
        arguments,
        field: FieldInfo::new(name, pg_type),
    })
}

fn function_named(name: &str) -> Option<(&'static str, Acting, &'static str, PgType)> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    if let Some((known, acting, column, pg_type)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) {
        return Some((known, *acting, column, pg_type.clone()));
    }
    let missing = MISSING.iter().find(|missing| **missing == name)?;
    Some((missing, Acting::Missing(missing), missing, PgType::TEXT))
}

impl Session {
    pub(in crate::sql) async fn call(
        &mut self,
        call: Call<'_>,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        if let Acting::Missing(name) = call.acting {
            if name.starts_with("dolt_cluster_") && self.engine.cluster().is_none() {
                return Err(cluster::not_found(name));
            }
            return Err(SqlError::unsupported(format_args!("the function {name}")));
        }
        let arguments = self.arguments(&call.arguments, parameters, running).await?;
        let value = match call.acting {
            Acting::AssumeClusterRole => self.assume_cluster_role(&arguments).await?,
            Acting::Commit => self.version_commit(&arguments).await?,
            Acting::Add => self.version_add(&arguments)?,
            Acting::Backup => self.backup(&arguments, running).await?,
            Acting::CollectGarbage => self.collect_garbage(&arguments, running).await?,
            Acting::SetConfig => self.set_config(&arguments)?,
            Acting::TerminateBackend => self.terminate_backend(&arguments)?,
            Acting::Missing(name) => return Err(SqlError::unsupported(format_args!("the function {name}"))),
        };
        let rows = RowStream::of_values(vec![call.field], vec![vec![value]]);
        Ok(QueryResult::Rows {
            rows,
            tag: CommandTag::Select,
        })
    }

    /// Arguments as text; None is NULL.
    async fn arguments(
        &mut self,
        expressions: &[&Expr],
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<Option<String>>, SqlError> {
        let style = self.settings.style();
        let mut arguments = Vec::with_capacity(expressions.len());
        for expression in expressions {
            let surroundings = self.surroundings();
            let types = ParameterTypes::new(parameters.types.iter().cloned().map(Some));
            let mut compiler = Compiler::new(&[], &surroundings, types);
            let (value, pg_type) = match compiler.compile(expression, Some(&PgType::TEXT)) {
                Ok(compiled) => (compiled.evaluate(&[], parameters.values)?, compiled.pg_type),
                Err(Declined::Wrong(error)) => return Err(error),
                Err(Declined::NeedsPlan) => {
                    let one = std::slice::from_ref(*expression);
                    let mut values = self.evaluate_constants(one, parameters, running).await?;
                    values.pop().unwrap_or((Value::Null, PgType::TEXT))
                }
            };
            arguments.push(text::to_text(&value, &pg_type, &style));
        }
        Ok(arguments)
    }

    /// Parameters of a call are text, whatever they turn into.
    pub(in crate::sql) fn describe_call(
        &self,
        call: &Call<'_>,
        known: &[Option<PgType>],
    ) -> Result<Vec<PgType>, SqlError> {
        let surroundings = self.surroundings();
        let mut compiler = Compiler::new(&[], &surroundings, ParameterTypes::new(known.iter().cloned()));
        for argument in &call.arguments {
            if let Err(Declined::Wrong(error)) = compiler.compile(argument, Some(&PgType::TEXT)) {
                return Err(error);
            }
        }
        Ok(compiler.parameters.finish())
    }

    fn set_config(&mut self, arguments: &[Option<String>]) -> Result<Value, SqlError> {
        let [name, value, local] = arguments else {
            return Err(wrong_count("set_config", 3, arguments.len()));
        };
        let name = name
            .as_deref()
            .ok_or_else(|| SqlError::new(SqlErrorKind::NullNotAllowed, "SET requires parameter name"))?;
        let local = local.as_deref().and_then(super::settings::boolean).unwrap_or(false);
        self.change_setting(name, value.as_deref(), local)?;
        Ok(Value::Text(self.settings.show(name)?))
    }

    fn terminate_backend(&mut self, arguments: &[Option<String>]) -> Result<Value, SqlError> {
        let [pid] = arguments else {
            return Err(wrong_count("pg_terminate_backend", 1, arguments.len()));
        };
        self.require_superuser("to terminate process")?;
        let Some(pid) = pid else { return Ok(Value::Null) };
        let pid: i32 = pid.trim().parse().map_err(|_| {
            SqlError::new(
                SqlErrorKind::InvalidText,
                format!("invalid input syntax for type integer: \"{pid}\""),
            )
        })?;
        let why = "terminating connection due to administrator command";
        Ok(Value::Bool(self.engine.sessions().terminate(pid, why)))
    }
}

/// The function does not take so many arguments.
pub(super) fn wrong_count(name: &str, expected: usize, received: usize) -> SqlError {
    SqlError::new(
        SqlErrorKind::UndefinedFunction,
        format!("function '{name}' expected {expected} arguments, {received} received"),
    )
}

/// An argument that may not be NULL.
pub(super) fn required<'a>(name: &str, argument: &'a Option<String>) -> Result<&'a str, SqlError> {
    argument.as_deref().ok_or_else(|| {
        SqlError::new(
            SqlErrorKind::NullNotAllowed,
            format!("Invalid argument to {name}: NULL"),
        )
    })
}
