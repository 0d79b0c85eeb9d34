//! Which of the ways a statement goes.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, SetExpr, Statement};

use super::block::Kind;
use super::show;
use super::{Parameters, Prepared, Running, Session};
use crate::sql::cast;
use crate::sql::depth::{Roomy, Weight};
use crate::sql::engine_error;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::functions::{self, Acting};
use crate::sql::names::folded;
use crate::sql::plan;
use crate::sql::point::select;
use crate::sql::result::{CommandTag, FieldInfo, PgType, QueryResult, ResultSink, RowStream};
use crate::sql::types::column_type;
use crate::version::Value;

/// What a read-only server calls itself when it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Rows and tables: `<db> is read-only`.
    Database,
    /// Databases, roles, versions: `database server is set to read only mode`.
    Server,
}

impl Session {
    /// Executes one statement in the transaction that is open, or in one it opens.
    pub(super) async fn run(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Parameters<'_>,
        running: &Running,
        out: Option<&mut dyn ResultSink>,
    ) -> Result<QueryResult, SqlError> {
        let Some(statement) = prepared.statement.as_deref() else {
            return Ok(QueryResult::Empty);
        };
        self.check_not_failed(statement)?;
        running.check()?;
        if let Some(result) = self.control(statement).await? {
            return Ok(result);
        }
        // SQL's EXECUTE stands for the statement it names.
        if let Statement::Execute {
            name,
            parameters: arguments,
            into,
            using,
            ..
        } = statement
        {
            if !into.is_empty() || !using.is_empty() {
                return Err(SqlError::unsupported("EXECUTE ... INTO or USING"));
            }
            let name = execute_name(name.as_ref())?;
            let inner = self.find_prepared(&name)?;
            let values = self.execute_arguments(&inner, arguments, parameters, running).await?;
            let Some(statement) = inner.statement.as_deref() else {
                return Ok(QueryResult::Empty);
            };
            if let Some(result) = self.control(statement).await? {
                return Ok(result);
            }
            let parameters = Parameters {
                values: &values,
                types: &inner.params,
            };
            return self
                .run_with_room(statement, inner.weight, parameters, running, out)
                .await;
        }
        self.run_with_room(statement, prepared.weight, parameters, running, out)
            .await
    }

    /// Runs on a stack that is large enough for the statement, as its rows will be read on one.
    async fn run_with_room(
        &mut self,
        statement: &Statement,
        weight: Weight,
        parameters: Parameters<'_>,
        running: &Running,
        out: Option<&mut dyn ResultSink>,
    ) -> Result<QueryResult, SqlError> {
        let work = self.run_in_transaction(statement, weight, parameters, running, out);
        Ok(match Roomy::new(weight, work).await? {
            QueryResult::Rows { rows, tag } => {
                let RowStream { fields, batches } = rows;
                let batches = Box::pin(Roomy::new(weight, batches));
                QueryResult::Rows {
                    rows: RowStream { fields, batches },
                    tag,
                }
            }
            other => other,
        })
    }

    /// Statements about the session and its transaction, which open none.
    async fn control(&mut self, statement: &Statement) -> Result<Option<QueryResult>, SqlError> {
        Ok(Some(match statement {
            Statement::StartTransaction {
                modes,
                modifier: None,
                statements,
                exception: None,
                ..
            } if statements.is_empty() => self.begin_block(modes)?,
            Statement::StartTransaction { .. } => return Err(SqlError::unsupported("BEGIN with statements")),
            Statement::Commit {
                chain: false,
                modifier: None,
                ..
            } => self.commit_block().await?,
            Statement::Rollback {
                chain: false,
                savepoint: None,
            } => self.rollback_block(),
            Statement::Commit { .. } | Statement::Rollback { chain: true, .. } => {
                return Err(SqlError::unsupported("AND CHAIN"));
            }
            Statement::Rollback {
                savepoint: Some(name), ..
            } => self.rollback_to(&folded(name))?,
            Statement::Savepoint { name } => self.savepoint(&folded(name))?,
            Statement::ReleaseSavepoint { name } => self.release(&folded(name))?,
            Statement::Set(set) => self.set_statement(set)?,
            Statement::Reset(reset) => self.reset(&reset.reset)?,
            Statement::Discard { object_type } => self.discard(object_type)?,
            Statement::ShowVariable { variable } => self.show(variable)?,
            Statement::Deallocate { name, .. } => self.deallocate(&folded(name))?,
            _ => return Ok(None),
        }))
    }

    async fn run_in_transaction(
        &mut self,
        statement: &Statement,
        weight: Weight,
        parameters: Parameters<'_>,
        running: &Running,
        out: Option<&mut dyn ResultSink>,
    ) -> Result<QueryResult, SqlError> {
        self.open(Kind::Implicit);
        // Each way is put on the heap by itself: one that holds all of them would be moved about with the largest.
        match statement {
            Statement::Query(query) => Box::pin(self.query(statement, query, parameters, running)).await,
            Statement::Explain {
                statement: explained, ..
            } => {
                if !matches!(explained.as_ref(), Statement::Query(_)) {
                    return Err(SqlError::unsupported(format_args!(
                        "EXPLAIN {}",
                        statement_name(explained)
                    )));
                }
                Box::pin(self.planned(statement, parameters, running, CommandTag::Plain("EXPLAIN"))).await
            }
            Statement::Insert(insert) => {
                self.check_writable(Scope::Database, "INSERT")?;
                Box::pin(self.insert(insert, parameters, running)).await
            }
            Statement::Update(update) => {
                self.check_writable(Scope::Database, "UPDATE")?;
                Box::pin(self.update(update, parameters, running)).await
            }
            Statement::Delete(delete) => {
                self.check_writable(Scope::Database, "DELETE")?;
                Box::pin(self.delete(delete, parameters, running)).await
            }
            Statement::Truncate(truncate) => {
                self.check_writable(Scope::Database, "TRUNCATE TABLE")?;
                let names: Vec<&ObjectName> = truncate.table_names.iter().map(|target| &target.name).collect();
                Box::pin(self.truncate(&names, running)).await
            }
            Statement::Copy { .. } => {
                let out = out.ok_or_else(|| SqlError::internal("COPY without anybody to copy with"))?;
                Box::pin(self.copy(statement, running, out)).await
            }
            Statement::CreateTable(create) => {
                self.check_writable(Scope::Database, "CREATE TABLE")?;
                weight.require_usual()?;
                self.create_table(create)
            }
            Statement::Drop {
                object_type,
                if_exists,
                names,
                cascade,
                ..
            } => {
                use datafusion::sql::sqlparser::ast::ObjectType;
                let scope = match object_type {
                    ObjectType::Database | ObjectType::Role | ObjectType::User => Scope::Server,
                    _ => Scope::Database,
                };
                self.check_writable(scope, "DROP")?;
                Box::pin(self.drop_objects(object_type, *if_exists, names, *cascade)).await
            }
            Statement::CreateDatabase {
                db_name, if_not_exists, ..
            } => {
                self.check_writable(Scope::Server, "CREATE DATABASE")?;
                Box::pin(self.create_database(db_name, *if_not_exists)).await
            }
            Statement::CreateRole(create) => {
                self.check_writable(Scope::Server, "CREATE ROLE")?;
                Box::pin(self.create_role(create)).await
            }
            Statement::AlterRole { name, operation } => {
                self.check_writable(Scope::Server, "ALTER ROLE")?;
                Box::pin(self.alter_role(name, operation)).await
            }
            Statement::Grant { .. } | Statement::Revoke { .. } => {
                self.check_writable(Scope::Server, "GRANT")?;
                Err(SqlError::unsupported(statement_name(statement)))
            }
            Statement::Call(function) => {
                let call = functions::call_of_function(function).ok_or_else(|| {
                    let name = function.name.to_string().to_ascii_lowercase();
                    SqlError::new(
                        SqlErrorKind::UndefinedFunction,
                        format!("procedure {name} does not exist"),
                    )
                })?;
                Box::pin(self.acting(call, parameters, running)).await
            }
            Statement::Prepare {
                name,
                data_types,
                statement,
            } => {
                let mut known = Vec::with_capacity(data_types.len());
                for data_type in data_types {
                    known.push(Some(crate::sql::types::pg_type(column_type(data_type)?)));
                }
                let prepared = self
                    .describe(Arc::new((**statement).clone()), weight, &known, running)
                    .await?;
                self.keep_prepared(&folded(name), prepared)
            }
            other => Err(SqlError::unsupported(statement_name(other))),
        }
    }

    async fn query(
        &mut self,
        statement: &Statement,
        query: &Query,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        if let Some(call) = functions::call_of_query(query) {
            return self.acting(call, parameters, running).await;
        }
        refuse_writing_queries(query)?;
        self.check_locks(query)?;
        if let Some(transaction) = self.read() {
            let surroundings = self.surroundings();
            if let Some(result) = select::select(query, &transaction, &self.settings, &surroundings, parameters)? {
                return Ok(result);
            }
        }
        self.planned(statement, parameters, running, CommandTag::Select).await
    }

    /// FOR UPDATE takes no lock, as spec/version-control.md 4 says; who counts on one is told. What skips or refuses rows
    /// that are locked would give every worker the same row, and is refused.
    fn check_locks(&mut self, query: &Query) -> Result<(), SqlError> {
        plan::refuse_waiting(query)?;
        if let Some(lock) = query.locks.first() {
            self.not_provided(
                format!("FOR {} takes no lock", lock.lock_type),
                "Transactions read a snapshot. Two that change the same row conflict, and the later one gets 40001; what was \
                 only read is not protected.",
            );
        }
        Ok(())
    }

    async fn planned(
        &mut self,
        statement: &Statement,
        parameters: Parameters<'_>,
        running: &Running,
        tag: CommandTag,
    ) -> Result<QueryResult, SqlError> {
        let transaction = self.read();
        let context = self.plan_context(transaction);
        let work = plan::query(&context, statement, parameters.values, parameters.types);
        let rows = running.interruptible(work).await?;
        Ok(QueryResult::Rows { rows, tag })
    }

    async fn acting(
        &mut self,
        call: functions::Call<'_>,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        if matches!(call.acting(), Acting::Commit | Acting::Add) {
            self.check_writable(Scope::Server, call.name())?;
        }
        self.call(call, parameters, running).await
    }

    /// 25006 on a server, in a database or in a transaction that takes no writes; asked before anything is done.
    fn check_writable(&self, scope: Scope, what: &str) -> Result<(), SqlError> {
        if let Some(reason) = self.engine.gate().reason() {
            let database = (scope == Scope::Database).then_some(self.database_name.as_str());
            return Err(engine_error::read_only(database, reason));
        }
        if self.database.is_none() && scope == Scope::Database {
            return Err(engine_error::cluster_database_is_read_only());
        }
        if self.settings.is_on("transaction_read_only") {
            return Err(SqlError::new(
                SqlErrorKind::ReadOnly,
                format!("cannot execute {what} in a read-only transaction"),
            ));
        }
        Ok(())
    }

    pub(in crate::sql) fn check_copy_in(&self) -> Result<(), SqlError> {
        self.check_writable(Scope::Database, "COPY FROM")
    }

    /// Values for EXECUTE, assigned to the prepared statement's parameters.
    async fn execute_arguments(
        &mut self,
        inner: &Prepared,
        arguments: &[datafusion::sql::sqlparser::ast::Expr],
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<Value>, SqlError> {
        if arguments.len() != inner.params.len() {
            return Err(SqlError::new(
                SqlErrorKind::Syntax,
                "wrong number of parameters for prepared statement",
            )
            .detail(format!(
                "Expected {} parameters but got {}.",
                inner.params.len(),
                arguments.len()
            )));
        }
        let given = self.evaluate_constants(arguments, parameters, running).await?;
        let style = self.settings.style();
        given
            .into_iter()
            .zip(&inner.params)
            .map(|((value, from), wanted)| {
                let to = crate::sql::point::expression::storage_type(wanted);
                // Untyped literals come back from the plan as text.
                cast::cast(value, &from, to, &style)
            })
            .collect()
    }

    /// Parameters and columns of a statement.
    pub(super) async fn describe(
        &mut self,
        statement: Arc<Statement>,
        weight: Weight,
        known: &[Option<PgType>],
        running: &Running,
    ) -> Result<Prepared, SqlError> {
        let (params, columns) = match &*statement {
            Statement::Query(query) => match functions::call_of_query(query) {
                Some(call) => (self.describe_call(&call, known)?, Some(vec![call.field])),
                None => {
                    refuse_writing_queries(query)?;
                    let context = self.plan_context(self.glance());
                    let work = plan::describe(&context, &statement, known);
                    let described = running.interruptible(work).await?;
                    (described.params, Some(described.fields))
                }
            },
            Statement::Call(function) => match functions::call_of_function(function) {
                Some(call) => (self.describe_call(&call, known)?, Some(vec![call.field])),
                None => (Vec::new(), None),
            },
            Statement::Insert(insert) => {
                let described = self.describe_insert(insert, known, running).await?;
                (described.params, described.columns)
            }
            Statement::Update(update) => {
                let described = self.describe_update(update, known, running).await?;
                (described.params, described.columns)
            }
            Statement::Delete(delete) => {
                let described = self.describe_delete(delete, known, running).await?;
                (described.params, described.columns)
            }
            Statement::Explain { .. } => (Vec::new(), Some(vec![FieldInfo::new("QUERY PLAN", PgType::TEXT)])),
            Statement::ShowVariable { variable } => (Vec::new(), Some(show::fields(variable))),
            Statement::Execute { name, .. } => {
                let inner = self.find_prepared(&execute_name(name.as_ref())?)?;
                (Vec::new(), inner.columns.clone())
            }
            _ => (Vec::new(), None),
        };
        Ok(Prepared {
            statement: Some(statement),
            weight,
            params,
            columns,
        })
    }
}

fn execute_name(name: Option<&ObjectName>) -> Result<String, SqlError> {
    let name = name.ok_or_else(|| SqlError::new(SqlErrorKind::Syntax, "EXECUTE needs a name"))?;
    Ok(crate::sql::names::parts(name)?.join("."))
}

/// `WITH x AS (INSERT ...)`, `SELECT ... INTO`: queries that would write.
fn refuse_writing_queries(query: &Query) -> Result<(), SqlError> {
    for common in query.with.iter().flat_map(|with| &with.cte_tables) {
        refuse_writing_queries(&common.query)?;
    }
    match query.body.as_ref() {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(SqlError::unsupported("a data-modifying statement in WITH"))
        }
        SetExpr::Select(select) if select.into.is_some() => Err(SqlError::unsupported("SELECT INTO")),
        _ => Ok(()),
    }
}

/// The construct's name: the capital words a statement begins with, up to those that lead on to a name.
pub(super) fn statement_name(statement: &Statement) -> String {
    const LEAD_ON: &[&str] = &[
        "IF",
        "ON",
        "TO",
        "FROM",
        "INTO",
        "IN",
        "OF",
        "FOR",
        "AS",
        "USING",
        "WITH",
        "CONCURRENTLY",
    ];
    let text = statement.to_string();
    let mut words: Vec<&str> = text
        .split_whitespace()
        .take_while(|word| word.chars().all(|c| c.is_ascii_uppercase()) && !LEAD_ON.contains(word))
        .take(5)
        .collect();
    if let ["CREATE", "OR", "REPLACE", ..] = words.as_slice() {
        words.drain(1..3);
    }
    words.truncate(3);
    if words.is_empty() {
        "this statement".to_string()
    } else {
        words.join(" ")
    }
}
