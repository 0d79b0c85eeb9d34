//! One connection from its first byte to its last: start-up, then message after message.
//!
//! Invariants
//! - After a failed message of the extended protocol everything up to the next Sync is skipped.
//! - ReadyForQuery is sent once per simple query and once per Sync, after the outcome of the transaction is known.
//! - A connection that the server ends is told why before it is closed, if it listens.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::client::{self, Client, ClientLimits, End, unreadable};
use super::extended::Extended;
use super::link::Link;
use super::listener::{Slots, Stranger};
use super::message::Message;
use super::reply::Report;
use super::sink::{Sink, log_statement};
use super::startup::{self, Beginning, Refusal};
use crate::engine::Engine;
use crate::runtime;
use crate::sql::{ServerSettings, Session, SessionStart, SqlError, SqlErrorKind};

/// What all connections of a server share.
pub(super) struct Shared {
    pub engine: Engine,
    pub settings: ServerSettings,
    pub limits: ClientLimits,
    pub startup_timeout: Duration,
    pub query_log_bytes_max: usize,
    pub session_defaults: Vec<(String, String)>,
    pub slots: Slots,
    /// Makes up verifiers for users who do not exist.
    pub mock_secret: [u8; 32],
    /// Cancelled when the server begins to stop.
    pub stop: CancellationToken,
}

/// Serves a connection until one side ends it.
pub(super) async fn serve<S>(shared: Arc<Shared>, stream: S, client_address: Option<String>, stranger: Stranger)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut link = Link::new(stream);
    let begun = tokio::select! {
        biased;
        () = shared.stop.cancelled() => Begun::Refused(Refusal::ShuttingDown),
        () = stranger.sent_away() => Begun::Refused(Refusal::TooManyStrangers),
        begun = runtime::timeout(shared.startup_timeout, begin(&shared, &mut link)) => {
            begun.unwrap_or(Begun::Refused(Refusal::Timeout))
        }
    };
    drop(stranger);
    let (slot, request) = match begun {
        Begun::Authenticated(slot, request) => (slot, request),
        Begun::Over => return,
        Begun::Refused(refusal) => {
            info!(reason = %refusal, client = client_address.as_deref(), "connection refused");
            return client::farewell(&mut link, End::fatal(Report::of_refusal(&refusal))).await;
        }
    };
    let handle = shared.engine.sessions().register(&request.user, &request.database);
    // Not held here: this task may be what does not end when it is told to.
    handle.keep(slot);
    let start = SessionStart {
        user: request.user,
        database: request.database,
        parameters: [shared.session_defaults.clone(), request.parameters].concat(),
        handle: handle.clone(),
        client_address,
    };
    let session = match Session::new(shared.engine.clone(), shared.settings.clone(), start) {
        Ok(session) => session,
        Err(error) => {
            let refusal = Refusal::Session(error);
            return client::farewell(&mut link, End::fatal(Report::of_refusal(&refusal))).await;
        }
    };
    let session_id = handle.id().0;
    debug!(
        session = session_id,
        user = handle.user(),
        database = handle.database(),
        "session begun"
    );
    let client = Client::new(link, handle, shared.stop.clone(), shared.limits);
    let mut connection = Connection {
        client,
        session,
        extended: Extended::default(),
        skipping: false,
        shared,
    };
    let end = match connection.greet().await {
        Ok(()) => connection.run().await,
        Err(end) => end,
    };
    let Connection {
        client,
        session,
        extended,
        ..
    } = connection;
    // Its transaction is rolled back and its snapshots are let go before the client learns that it is over.
    drop((extended, session));
    client.farewell(end).await;
    debug!(session = session_id, "session ended");
}

enum Begun {
    Authenticated(super::listener::Slot, startup::Request),
    Refused(Refusal),
    Over,
}

async fn begin<S: AsyncRead + AsyncWrite + Unpin>(shared: &Shared, link: &mut Link<S>) -> Begun {
    let request = match startup::begin(link).await {
        Beginning::Request(request) => request,
        Beginning::Cancel { pid, secret } => {
            shared.engine.sessions().cancel_statement(pid, secret);
            return Begun::Over;
        }
        Beginning::Refused(refusal) => return Begun::Refused(refusal),
        Beginning::Gone => return Begun::Over,
    };
    match startup::authenticate(link, &shared.engine, &shared.mock_secret, &request).await {
        None => Begun::Over,
        Some(Err(refusal)) => Begun::Refused(refusal),
        // Taken last: cancel requests get through when all slots are in use, and who has not proved who they are keeps
        // no slot from others.
        Some(Ok(())) => match shared.slots.take() {
            Some(slot) => Begun::Authenticated(slot, request),
            None => Begun::Refused(Refusal::TooManyConnections),
        },
    }
}

struct Connection<S> {
    client: Client<S>,
    session: Session,
    extended: Extended,
    /// Whether a message of the extended protocol failed and Sync has not come.
    skipping: bool,
    shared: Arc<Shared>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    async fn greet(&mut self) -> Result<(), End> {
        for (name, value) in self.session.start_up_parameters() {
            self.client.reply().parameter_status(name, &value);
        }
        let (pid, secret) = (self.client.handle.pid(), self.client.handle.secret());
        self.client.reply().backend_key_data(pid, secret);
        self.ready().await
    }

    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Takes one message and answers it.
    async fn step(&mut self) -> Result<(), End> {
        let frame = self.client.next().await?;
        if self.skipping && !matches!(frame.kind, b'S' | b'X') {
            return Ok(());
        }
        let extended = frame.is_extended();
        let message = match frame.decode() {
            Ok(message) => message,
            Err(error) => {
                self.session.statement_failed();
                self.client.tell(&unreadable(&error))?;
                return if extended {
                    self.skip().await
                } else {
                    self.ready().await
                };
            }
        };
        match message {
            Message::Query(sql) => self.simple_query(&sql).await,
            Message::FunctionCall => {
                self.client
                    .tell(&SqlError::unsupported("the function call message of the protocol"))?;
                self.ready().await
            }
            Message::Sync => self.sync().await,
            Message::Terminate => Err(End::Gone),
            // What is left of a COPY that failed; the protocol says to ignore it.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::Password(_) => Err(End::bad_message(&super::message::MessageError::UnknownKind(b'p'))),
            message => match self.extended(message).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.session.statement_failed();
                    self.tell_changes();
                    self.client.tell(&error)?;
                    self.skip().await
                }
            },
        }
    }

    async fn simple_query(&mut self, sql: &str) -> Result<(), End> {
        self.extended.forget_unnamed();
        let mut sink = Sink {
            client: &mut self.client,
            query_log_bytes_max: self.shared.query_log_bytes_max,
        };
        let result = self.session.simple_query(sql, &mut sink).await;
        if let Err(error) = result {
            // A syntax error quotes the text, of which nobody knows whether it holds a password.
            let message = (error.kind != SqlErrorKind::Syntax).then_some(error.message.as_str());
            debug!(session = self.client.handle.id().0, kind = ?error.kind, message, "statement failed");
            self.client.tell(&error)?;
        }
        self.ready().await
    }

    async fn extended(&mut self, message: Message) -> Result<(), SqlError> {
        let (client, session) = (&mut self.client, &mut self.session);
        match message {
            Message::Parse { name, sql, types } => {
                let prepared = self.extended.parse(client, session, name, &sql, &types).await?;
                log_statement(
                    client.handle.id(),
                    &prepared.loggable(&sql),
                    self.shared.query_log_bytes_max,
                );
            }
            Message::Bind(bind) => self.extended.bind(client, session, bind)?,
            Message::Describe { target, name } => self.extended.describe(client, target, &name)?,
            Message::Execute { portal, rows_max } => {
                let limit = self.shared.query_log_bytes_max;
                self.extended.execute(client, session, &portal, rows_max, limit).await?;
                self.tell_changes();
            }
            Message::Close { target, name } => self.extended.close(client, target, &name),
            Message::Flush => client.flush().await?,
            message => unreachable!("{message:?} is no message of the extended protocol"),
        }
        self.client.flush_if_full().await
    }

    /// A failure is told at once: who waits for the answer to a Flush would wait for ever.
    async fn skip(&mut self) -> Result<(), End> {
        self.skipping = true;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), End> {
        match self.client.flush().await {
            Ok(()) => Ok(()),
            Err(error) => self.client.tell(&error),
        }
    }

    async fn sync(&mut self) -> Result<(), End> {
        self.skipping = false;
        let result = self.session.sync().await;
        self.tell_changes();
        if let Err(error) = result {
            self.client.tell(&error)?;
        }
        self.ready().await
    }

    /// Notices and changed settings; a simple query's sink gets them as they come.
    fn tell_changes(&mut self) {
        for notice in self.session.take_notices() {
            self.client.reply().notice(&Report::of_notice(&notice));
        }
        for (name, value) in self.session.take_changed_parameters() {
            self.client.reply().parameter_status(name, &value);
        }
    }

    async fn ready(&mut self) -> Result<(), End> {
        for forgotten in self.session.take_deallocated() {
            self.extended.deallocate(&forgotten);
        }
        let status = self.session.transaction_status();
        self.extended.transaction_ended(status);
        self.client.reply().ready_for_query(status);
        self.flush().await
    }
}
