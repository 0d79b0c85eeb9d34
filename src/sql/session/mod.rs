//! A session: one client's statements, one after another, and the transaction they are in.
//!
//! Invariants
//! - A statement outside a block is a transaction of its own: it is durable before its completion is told, and when it
//!   loses a conflict it runs again on the new state, as in PostgreSQL's READ COMMITTED.
//! - In a block every statement reads the snapshot of the block's first statement, and a conflict is told at COMMIT (40001).
//! - After an error nothing of the transaction remains, its SETs included.
//!
//! Must not know: bytes on a wire, names of portals and prepared statements of the protocol.

mod block;
mod control;
mod dispatch;
mod loggable;
mod memo;
mod running;
mod show;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;

use self::block::{Block, Executed, Kind, OpenTransaction};
use self::memo::Memo;
pub(in crate::sql) use self::running::Running;
use self::running::{Fetching, in_turn, planning_interrupt};
use super::depth::{Roomy, Weight};
use super::error::{SqlError, SqlErrorKind};
use super::mention;
use super::plan::{PlanContext, Planner, QueryMemory};
use super::point::expression::Surroundings;
use super::result::{
    CommandTag, FieldInfo, Notice, NoticeKind, NoticeSeverity, PgType, QueryResult, ResultSink, RowStream,
    TransactionStatus,
};
use super::settings::Settings;
use crate::engine::{CLUSTER_DATABASE, CommitOutcome, Database, Engine, EngineError, SessionHandle, Transaction, Turn};
use crate::runtime::{self, WallTime};
use crate::version::Value;

/// How often a statement outside a block is run again after losing a conflict. Each loss means that another commit has
/// succeeded, so this many in a row say that the rows are fought over; the client gets 40001 and may wait before it retries.
const CONFLICT_TRIES_MAX: u32 = 100;

/// What all sessions of a server share, fixed while it runs.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub host: String,
    pub port: u16,
    pub data_directory: String,
    pub max_connections: u32,
    pub query_memory: QueryMemory,
}

/// Who begins a session, and where.
pub struct SessionStart {
    pub user: String,
    pub database: String,
    /// The start-up message's other parameters: application_name, DateStyle, ...
    pub parameters: Vec<(String, String)>,
    pub handle: SessionHandle,
    /// Without the port; None for connections inside the process.
    pub client_address: Option<String>,
}

/// A statement that was parsed and described, to be executed with parameters any number of times.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// None: the text was empty.
    pub(in crate::sql) statement: Option<Arc<Statement>>,
    pub(in crate::sql) weight: Weight,
    pub params: Vec<PgType>,
    /// None: the statement returns no rows.
    pub columns: Option<Vec<FieldInfo>>,
}

/// Prepared statements that SQL's DEALLOCATE (or DISCARD ALL) forgot and that may be the protocol's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deallocated {
    All,
    Named(String),
}

/// Values of a statement's parameters with their types.
#[derive(Clone, Copy, Debug)]
pub(in crate::sql) struct Parameters<'a> {
    pub values: &'a [Value],
    pub types: &'a [PgType],
}

impl Parameters<'_> {
    pub const NONE: Parameters<'static> = Parameters {
        values: &[],
        types: &[],
    };
}

/// See the module.
pub struct Session {
    pub(in crate::sql) engine: Engine,
    pub(in crate::sql) handle: SessionHandle,
    pub(in crate::sql) user: String,
    pub(in crate::sql) client_address: Option<String>,
    pub(in crate::sql) database_name: String,
    /// None: the virtual database `dolt_cluster`.
    pub(in crate::sql) database: Option<Database>,
    pub(in crate::sql) settings: Arc<Settings>,
    planner: Planner,
    block: Block,
    statement_time: WallTime,
    fetching: Fetching,
    notices: Vec<Notice>,
    /// Values of reported settings as the client last heard them.
    told: BTreeMap<&'static str, String>,
    /// What [`Settings::reported_version`] was when that was compared.
    told_version: Option<(u64, bool)>,
    /// SQL's own PREPARE, apart from the protocol's statements.
    prepared: BTreeMap<String, Arc<Prepared>>,
    deallocated: Vec<Deallocated>,
    memo: Memo,
}

impl Session {
    /// # Errors
    /// `UndefinedDatabase`; `InvalidAuthorization` for a role that does not exist; start-up parameters as SET's.
    pub fn new(engine: Engine, server: ServerSettings, start: SessionStart) -> Result<Session, SqlError> {
        let database = match engine.database(&start.database) {
            Ok(database) => Some(database),
            Err(EngineError::NoSuchDatabase { .. })
                if start.database == CLUSTER_DATABASE && engine.cluster().is_some() =>
            {
                None
            }
            Err(error) => return Err(error.into()),
        };
        let role = engine.system().role(&start.user)?.ok_or_else(|| {
            SqlError::new(
                SqlErrorKind::InvalidAuthorization,
                format!("role \"{}\" does not exist", start.user),
            )
        })?;
        let planner = Planner::new(server.query_memory.clone());
        let mut settings = Settings::new(engine.clone(), Arc::new(server), start.user.clone(), role.superuser);
        for (name, value) in &start.parameters {
            settings.set_at_start(name, value)?;
        }
        let told = settings.reported().into_iter().collect();
        Ok(Session {
            engine,
            handle: start.handle,
            user: start.user,
            client_address: start.client_address,
            database_name: start.database,
            database,
            settings: Arc::new(settings),
            planner,
            block: Block::Idle,
            statement_time: runtime::wall_clock(),
            fetching: Fetching::default(),
            notices: Vec::new(),
            told,
            told_version: None,
            prepared: BTreeMap::new(),
            deallocated: Vec::new(),
            memo: Memo::default(),
        })
    }

    /// ParameterStatus messages for the start of the connection.
    pub fn start_up_parameters(&self) -> Vec<(&'static str, String)> {
        self.settings.reported()
    }

    /// A picture of the settings, for encoding results.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.clone()
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        match &self.block {
            Block::Idle => TransactionStatus::Idle,
            Block::Open(open) if open.kind == Kind::Implicit => TransactionStatus::Idle,
            Block::Open(open) if open.failed => TransactionStatus::Failed,
            Block::Open(_) => TransactionStatus::InTransaction,
        }
    }

    /// Notices that came up since the last call. A simple query gives its notices to its sink instead.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Reported settings that changed since the last call, for ParameterStatus. A simple query tells its sink.
    pub fn take_changed_parameters(&mut self) -> Vec<(&'static str, String)> {
        let mut changed = Vec::new();
        // Asked after every statement, of which few change anything.
        let version = self.settings.reported_version();
        if self.told_version == Some(version) {
            return changed;
        }
        self.told_version = Some(version);
        for (name, value) in self.settings.reported() {
            if self.told.get(name) != Some(&value) {
                self.told.insert(name, value.clone());
                changed.push((name, value));
            }
        }
        changed
    }

    /// Statements of the protocol to forget, since the last call.
    pub fn take_deallocated(&mut self) -> Vec<Deallocated> {
        std::mem::take(&mut self.deallocated)
    }

    /// Runs the statements of a text, all in one transaction unless they say otherwise.
    ///
    /// # Errors
    /// The first error ends it: the transaction is given up (a block stays, failed), what the sink got stays valid.
    pub async fn simple_query(&mut self, sql: &str, out: &mut dyn ResultSink) -> Result<(), SqlError> {
        let result = self.simple_query_inner(sql, out).await;
        if result.is_err() {
            self.statement_failed();
        }
        // Notices of a failed statement are worth as much as those of a good one.
        let told = self.tell(out).await;
        result.and(told)
    }

    async fn simple_query_inner(&mut self, sql: &str, out: &mut dyn ResultSink) -> Result<(), SqlError> {
        self.check_usable()?;
        let statements = self.memo.parsed(sql)?;
        out.parsed(&loggable::loggable(
            sql,
            statements.iter().map(|(statement, _)| &**statement),
        ));
        if statements.is_empty() {
            return out.empty().await;
        }
        let alone = statements.len() == 1;
        for (statement, weight) in statements {
            self.check_usable()?;
            let running = self.begin_statement();
            let prepared = Arc::new(Prepared {
                statement: Some(statement),
                weight,
                params: Vec::new(),
                columns: None,
            });
            let result = if alone && self.is_idle() {
                self.run_alone(&prepared, &[], &running, Some(&mut *out)).await
            } else {
                self.run(&prepared, Parameters::NONE, &running, Some(&mut *out)).await
            };
            let result = result.map_err(|error| match prepared.statement.as_deref() {
                Some(statement) => mention::placed(error, sql, statement, weight),
                None => error,
            })?;
            self.tell(out).await?;
            self.send(result, running, out).await?;
        }
        if self.is_implicit() {
            self.commit().await?;
        }
        Ok(())
    }

    /// Sends one statement's result to the sink.
    async fn send(&mut self, result: QueryResult, running: Running, out: &mut dyn ResultSink) -> Result<(), SqlError> {
        match result {
            QueryResult::Empty => out.empty().await,
            QueryResult::Command { tag, affected } => out.complete(tag.complete(affected)).await,
            QueryResult::Rows { rows, tag } => {
                out.row_description(&rows.fields).await?;
                let RowStream { fields, mut batches } = running.guard_stream(rows);
                let style = self.settings.style();
                let mut count = 0;
                while let Some(batch) = batches.next().await {
                    let batch = batch?;
                    count += batch.rows() as u64;
                    out.rows(&fields, batch, &style).await?;
                }
                out.complete(tag.complete(count)).await
            }
        }
    }

    async fn tell(&mut self, out: &mut dyn ResultSink) -> Result<(), SqlError> {
        for notice in self.take_notices() {
            out.notice(notice).await?;
        }
        for (name, value) in self.take_changed_parameters() {
            out.parameter_status(name, &value).await?;
        }
        Ok(())
    }

    /// Parses a statement and finds out its parameters and columns. `param_types[i]` is what the client said of `$i+1`.
    ///
    /// # Errors
    /// `Syntax` for more than one statement. An error fails the transaction, as in PostgreSQL.
    pub async fn prepare(&mut self, sql: &str, param_types: &[Option<PgType>]) -> Result<Prepared, SqlError> {
        let result = self.prepare_inner(sql, param_types).await;
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    async fn prepare_inner(&mut self, sql: &str, param_types: &[Option<PgType>]) -> Result<Prepared, SqlError> {
        self.check_usable()?;
        let mut statements = self.memo.parsed(sql)?;
        let Some((statement, weight)) = statements.pop() else {
            return Ok(Prepared {
                statement: None,
                weight: Weight::default(),
                params: Vec::new(),
                columns: None,
            });
        };
        if !statements.is_empty() {
            return Err(SqlError::new(
                SqlErrorKind::Syntax,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        self.check_not_failed(&statement)?;
        let running = self.begin_statement();
        Roomy::new(weight, self.describe(statement.clone(), weight, param_types, &running))
            .await
            .map_err(|error| mention::placed(error, sql, &statement, weight))
    }

    /// Executes a prepared statement. Outside a block it joins the implicit transaction that [`Session::sync`] ends.
    ///
    /// An error fails the transaction. So does an error of the returned stream, once [`Session::statement_failed`] is
    /// told about it. What stops the statement stops the stream until [`Session::fetched`]; whoever reads on later says
    /// so by [`Session::fetch_more`].
    ///
    /// The sink is for what COPY says and is told; everything else is in the result.
    pub async fn execute(
        &mut self,
        prepared: &Prepared,
        params: Vec<Value>,
        copy: &mut dyn ResultSink,
    ) -> Result<QueryResult, SqlError> {
        let result = self.execute_inner(prepared, params, copy).await;
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    async fn execute_inner(
        &mut self,
        prepared: &Prepared,
        params: Vec<Value>,
        copy: &mut dyn ResultSink,
    ) -> Result<QueryResult, SqlError> {
        self.check_usable()?;
        if params.len() != prepared.params.len() {
            return Err(SqlError::new(
                SqlErrorKind::Protocol,
                format!(
                    "bind message supplies {} parameters, but the prepared statement requires {}",
                    params.len(),
                    prepared.params.len()
                ),
            ));
        }
        self.fetching.end();
        let running = self.begin_statement();
        let prepared = Arc::new(prepared.clone());
        let parameters = Parameters {
            values: &params,
            types: &prepared.params,
        };
        let result = self.run(&prepared, parameters, &running, Some(copy)).await?;
        check_as_described(&prepared, &result)?;
        if let Block::Open(open) = &mut self.block
            && open.kind == Kind::Implicit
        {
            let told = words_told(&result);
            open.executed.push(Executed {
                prepared: prepared.clone(),
                params,
                told,
            });
        }
        Ok(match result {
            QueryResult::Rows { rows, tag } => {
                self.fetching.begin(running);
                QueryResult::Rows {
                    rows: self.fetching.guard_stream(rows),
                    tag,
                }
            }
            other => other,
        })
    }

    /// More rows of an executed statement are going to be read: it is a statement that begins again, as far as cancel
    /// requests and `statement_timeout` are concerned.
    ///
    /// # Errors
    /// When the connection can be used for nothing more.
    pub fn fetch_more(&mut self) -> Result<(), SqlError> {
        self.check_usable()?;
        let running = self.begin_statement();
        self.fetching.begin(running);
        Ok(())
    }

    /// The rows that were asked for at once have been read, or reading them failed.
    pub fn fetched(&mut self) {
        self.fetching.end();
    }

    /// The extended protocol's Sync: ends the implicit transaction, which is durable when this returns.
    ///
    /// A lost conflict is repaired by running its statements again, as long as the client would be told the same.
    pub async fn sync(&mut self) -> Result<(), SqlError> {
        if !self.is_implicit() {
            return Ok(());
        }
        let result = self.sync_inner().await;
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    async fn sync_inner(&mut self) -> Result<(), SqlError> {
        let mut turn = None;
        for _ in 1..CONFLICT_TRIES_MAX {
            let Block::Open(open) = &mut self.block else {
                return Ok(());
            };
            let executed = std::mem::take(&mut open.executed);
            match in_turn(&mut turn, self.commit()).await {
                Err(error) if error.kind == SqlErrorKind::Conflict && executed.iter().all(|one| one.told.is_some()) => {
                    let running = self.begin_statement();
                    self.queue_after_a_conflict(&mut turn, &running).await?;
                    if !in_turn(&mut turn, self.run_again(executed)).await? {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
        in_turn(&mut turn, self.commit()).await
    }

    /// Runs told statements again in a new implicit transaction; false when one would be told differently.
    async fn run_again(&mut self, executed: Vec<Executed>) -> Result<bool, SqlError> {
        for mut one in executed {
            let running = self.begin_statement();
            let parameters = Parameters {
                values: &one.params,
                types: &one.prepared.params,
            };
            let prepared = one.prepared.clone();
            let told = words_told(&self.run(&prepared, parameters, &running, None).await?);
            if told != one.told {
                self.give_up();
                return Ok(false);
            }
            one.told = told;
            if let Block::Open(open) = &mut self.block {
                open.executed.push(one);
            }
        }
        Ok(true)
    }

    /// Tells the session that a statement failed outside its sight (while its rows were read or sent).
    pub fn statement_failed(&mut self) {
        match &mut self.block {
            Block::Idle => {}
            Block::Open(open) if open.kind == Kind::Explicit => open.failed = true,
            Block::Open(_) => self.give_up(),
        }
    }

    /// One statement that is a transaction: run again on the new state when it loses a conflict.
    async fn run_alone(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &[Value],
        running: &Running,
        mut out: Option<&mut dyn ResultSink>,
    ) -> Result<QueryResult, SqlError> {
        let mut tries = 0;
        let mut turn = None;
        loop {
            tries += 1;
            let parameters = Parameters {
                values: params,
                types: &prepared.params,
            };
            let out = out.as_mut().map(|out| &mut **out as &mut dyn ResultSink);
            // A version commit ends its transaction itself, so running may lose the conflict as well as committing.
            let work = async {
                let result = self.run(prepared, parameters, running, out).await?;
                if self.is_implicit() {
                    self.commit().await?;
                }
                Ok::<QueryResult, SqlError>(result)
            };
            match in_turn(&mut turn, work).await {
                Ok(result) => return Ok(result),
                // COPY has consumed its input; everything else can start over.
                Err(error)
                    if error.kind == SqlErrorKind::Conflict
                        && tries < CONFLICT_TRIES_MAX
                        && !matches!(prepared.statement.as_deref(), Some(Statement::Copy { .. })) =>
                {
                    self.give_up();
                    running.check()?;
                    self.queue_after_a_conflict(&mut turn, running).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Holds this statement back until it is its turn among those that lost a conflict, unless it still has it.
    async fn queue_after_a_conflict(&self, turn: &mut Option<Turn>, running: &Running) -> Result<(), SqlError> {
        if turn.is_none()
            && let Some(database) = &self.database
        {
            let waiting = async { Ok(database.after_a_conflict().await) };
            *turn = Some(running.interruptible(waiting).await?);
        }
        Ok(())
    }

    /// Commits what is open; afterwards nothing is. Not to be cancelled: its outcome would be unknown.
    pub(in crate::sql) async fn commit(&mut self) -> Result<(), SqlError> {
        self.commit_outcome().await.map(|_| ())
    }

    /// As [`Session::commit`]; tells what was committed.
    pub(in crate::sql) async fn commit_outcome(&mut self) -> Result<CommitOutcome, SqlError> {
        let Block::Open(open) = std::mem::replace(&mut self.block, Block::Idle) else {
            return Ok(CommitOutcome::default());
        };
        let open = *open;
        let changed = open.has_changes();
        let result = match (changed, open.transaction, &self.database) {
            (true, Some(transaction), Some(database)) => {
                let transaction = Arc::unwrap_or_clone(transaction);
                database.commit_outcome(transaction).await.map_err(SqlError::from)
            }
            _ => Ok(CommitOutcome::default()),
        };
        let settings = Arc::make_mut(&mut self.settings);
        if result.is_err() {
            settings.restore(open.mark);
        }
        settings.end_transaction();
        result
    }

    /// Rolls back what is open; afterwards nothing is.
    pub(in crate::sql) fn give_up(&mut self) {
        if let Block::Open(open) = std::mem::replace(&mut self.block, Block::Idle) {
            let settings = Arc::make_mut(&mut self.settings);
            settings.restore(open.mark);
            settings.end_transaction();
        }
    }

    fn begin_statement(&mut self) -> Running {
        self.statement_time = runtime::wall_clock();
        Running::new(&self.handle, self.settings.statement_timeout())
    }

    /// 57P01 when the server ends this connection, or when the role has changed under it.
    fn check_usable(&self) -> Result<(), SqlError> {
        if let Some(why) = self.handle.why_terminated() {
            return Err(SqlError::new(SqlErrorKind::Terminated, why));
        }
        if self.handle.is_tainted() {
            return Err(SqlError::new(
                SqlErrorKind::ConnectionTainted,
                "this connection can no longer be used: the role of this server changed",
            )
            .hint("Reconnect to go on."));
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        matches!(self.block, Block::Idle)
    }

    fn is_implicit(&self) -> bool {
        matches!(&self.block, Block::Open(open) if open.kind == Kind::Implicit)
    }

    /// Whether the statement is, or may become, part of more than itself: what CREATE DATABASE and role changes refuse.
    pub(in crate::sql) fn in_block(&self) -> bool {
        match &self.block {
            Block::Idle => false,
            Block::Open(open) => open.kind == Kind::Explicit || open.has_changes() || !open.executed.is_empty(),
        }
    }

    /// Opens a transaction unless one is open.
    fn open(&mut self, kind: Kind) -> &mut OpenTransaction {
        if self.is_idle() {
            self.block = Block::Open(Box::new(OpenTransaction {
                kind,
                failed: false,
                transaction: self.database.as_ref().map(|database| Arc::new(database.begin())),
                began: self.statement_time,
                mark: self.settings.mark(),
                savepoints: Vec::new(),
                executed: Vec::new(),
            }));
        }
        match &mut self.block {
            Block::Open(open) => open,
            Block::Idle => unreachable!("a transaction was just opened"),
        }
    }

    /// The open transaction to edit; opens an implicit one.
    pub(in crate::sql) fn edit(&mut self) -> Result<&mut Transaction, SqlError> {
        self.open(Kind::Implicit).edit()
    }

    /// The open transaction to read; opens an implicit one. None in the virtual database.
    pub(in crate::sql) fn read(&mut self) -> Option<Arc<Transaction>> {
        self.open(Kind::Implicit).transaction.clone()
    }

    /// A snapshot for finding out types: the open transaction's, or one of its own that leaves no trace.
    pub(in crate::sql) fn glance(&self) -> Option<Arc<Transaction>> {
        match &self.block {
            Block::Open(open) => open.transaction.clone(),
            Block::Idle => self.database.as_ref().map(|database| Arc::new(database.begin())),
        }
    }

    pub(in crate::sql) fn plan_context(&self, transaction: Option<Arc<Transaction>>) -> PlanContext {
        PlanContext {
            engine: self.engine.clone(),
            transaction,
            settings: self.settings.clone(),
            planner: self.planner.clone(),
            database: self.database_name.clone(),
            user: self.user.clone(),
            pid: self.handle.pid(),
            client_address: self.client_address.clone(),
            transaction_time: self.transaction_time(),
            statement_time: self.statement_time,
            interrupt: planning_interrupt(&self.handle, self.settings.statement_timeout()),
            expose_row_key: false,
        }
    }

    pub(in crate::sql) fn surroundings(&self) -> Surroundings {
        Surroundings {
            style: self.settings.style(),
            transaction_time: self.transaction_time(),
            statement_time: self.statement_time,
            user: self.user.clone(),
            database: self.database_name.clone(),
        }
    }

    fn transaction_time(&self) -> WallTime {
        match &self.block {
            Block::Open(open) => open.began,
            Block::Idle => self.statement_time,
        }
    }

    /// A warning with 0A000: the statement goes on and gives less than it asks for.
    fn not_provided(&mut self, message: String, detail: &str) {
        self.notice(Notice {
            severity: NoticeSeverity::Warning,
            kind: NoticeKind::NotProvided,
            message,
            detail: Some(detail.to_string()),
        });
    }

    pub(in crate::sql) fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn command(words: &'static str) -> QueryResult {
        QueryResult::Command {
            tag: CommandTag::Plain(words),
            affected: 0,
        }
    }
}

/// 0A000 when a result has other columns than the client was told of: a table may have been made again since, or EXECUTE
/// may name another statement now. Formats were chosen for the columns that were described, and so is what a client reads.
fn check_as_described(prepared: &Prepared, result: &QueryResult) -> Result<(), SqlError> {
    let given = match result {
        QueryResult::Rows { rows, .. } => Some(&*rows.fields),
        QueryResult::Command { .. } | QueryResult::Empty => None,
    };
    // What nobody said the type of is sent as text.
    let type_sent = |field: &FieldInfo| match &field.pg_type {
        &PgType::UNKNOWN => PgType::TEXT,
        other => other.clone(),
    };
    let described = prepared.columns.as_deref();
    let same = match (given, described) {
        (Some(given), Some(described)) => given.iter().map(type_sent).eq(described.iter().map(type_sent)),
        (given, described) => given.is_none() && described.is_none(),
    };
    if same {
        Ok(())
    } else {
        Err(SqlError::new(
            SqlErrorKind::Unsupported,
            "cached plan must not change result type",
        ))
    }
}

/// The words in which a client hears of a result; None when there is more to it that a second run could not take back:
/// rows, and the data of a COPY.
fn words_told(result: &QueryResult) -> Option<String> {
    match result {
        QueryResult::Command {
            tag: CommandTag::Copy, ..
        }
        | QueryResult::Rows { .. } => None,
        QueryResult::Command { tag, affected } => Some(tag.complete(*affected)),
        QueryResult::Empty => Some(String::new()),
    }
}

#[cfg(all(test, not(madsim)))]
mod tests;
