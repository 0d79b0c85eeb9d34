//! A client: finds a server it wants, keeps a session, and records what it asked and what it learned.
//!
//! Must not know: what the statements mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use understudy::runtime;

use super::direct::Switchboard;
use super::session::{Failure, Login, Session};
use super::{Target, Workload, WorkloadSpec};
use crate::draw;
use crate::history::{Invoke, NOT_NEEDED, Outcome, Read, What, Write};
use crate::record::Recorder;
use crate::units::Micros;

/// How long a client that found nobody waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What all clients of a run share.
pub struct Directory {
    /// (server, host:port), in the order of the scenario.
    pub servers: Vec<(String, String)>,
    pub login: Login,
    /// Table -> how many lists it has, of the workloads that make lists.
    pub lists: BTreeMap<String, u64>,
    /// Instead of ports, where servers have no SQL.
    pub lines: Option<Switchboard>,
    pub recorder: Recorder,
}

impl Directory {
    /// A session of a client, who looks elsewhere if it does not come about soon.
    pub async fn open(&self, server: &str, application: &str) -> Result<Session, Failure> {
        match &self.lines {
            None => Session::open(self.address(server), &self.login, application).await,
            Some(lines) => direct(lines, server),
        }
    }

    /// A session of somebody who does not look elsewhere.
    pub async fn open_patiently(&self, server: &str, application: &str) -> Result<Session, Failure> {
        match &self.lines {
            None => Session::open_patiently(self.address(server), &self.login, application).await,
            Some(lines) => direct(lines, server).map(Session::patient),
        }
    }

    /// The same, in another database.
    pub async fn open_database(&self, server: &str, database: &str, application: &str) -> Result<Session, Failure> {
        let login = Login {
            database: database.to_owned(),
            ..self.login.clone()
        };
        Session::open_patiently(self.address(server), &login, application).await
    }

    fn address(&self, server: &str) -> &str {
        let found = self.servers.iter().find(|(name, _)| name == server);
        &found.expect("the parser took only known servers").1
    }
}

fn direct(lines: &Switchboard, server: &str) -> Result<Session, Failure> {
    let line = lines.line(server);
    line.map(Session::direct)
        .ok_or_else(|| Failure::Lost("connect: the server is down".to_owned()))
}

/// A value is turn, number within the turn, client. Of each there are so many; whoever needed more would write a value
/// twice, and is stopped.
const TURNS_OF_A_LIFE: u64 = 1_000_000;
const VALUES_OF_A_TURN: i64 = 100;
const CLIENTS: u32 = 1_000;

pub struct Client {
    pub name: String,
    /// Of this turn's own, so that what is done in one depends on no other.
    pub rng: ChaCha8Rng,
    turn: u64,
    last_turn: u64,
    /// The turns in which it does something; None: in all.
    only: Option<BTreeSet<u64>>,
    spec: WorkloadSpec,
    directory: Arc<Directory>,
    current: Option<(String, Session)>,
    /// Where to look first.
    next_server: usize,
    /// What the current operation is, until it returned.
    pending: Option<u64>,
    /// How many values this turn has written.
    values: i64,
    number: u32,
}

impl Client {
    /// `lives` is how often a client of this name was there before: its turns are others.
    pub fn new(
        number: u32,
        name: String,
        spec: WorkloadSpec,
        directory: Arc<Directory>,
        seed: u64,
        lives: u64,
    ) -> Client {
        assert!(number < CLIENTS, "a workload has few clients");
        let rng = draw::stream(seed, &format!("workload/{name}"));
        let next_server = usize::try_from(number).unwrap_or(0);
        let only = spec.only.as_ref().map(|turns| turns.of(number));
        Client {
            name,
            rng,
            turn: lives * TURNS_OF_A_LIFE,
            last_turn: (lives + 1) * TURNS_OF_A_LIFE,
            only,
            spec,
            directory,
            current: None,
            next_server,
            pending: None,
            values: 0,
            number,
        }
    }

    /// As it is at the end of a run: it does something in every turn.
    pub fn in_every_turn(mut self) -> Client {
        self.only = None;
        self
    }

    /// Runs the workload until `over` says so: one operation, a pause, and so on.
    pub async fn run(self, workload: &mut dyn Workload, pause: Micros, over: impl Fn() -> bool) {
        self.work(workload, pause, over).await.disconnect(NOT_NEEDED);
    }

    /// The same, and keeps its session then.
    pub async fn work(mut self, workload: &mut dyn Workload, pause: Micros, over: impl Fn() -> bool) -> Client {
        // Who is left nothing to do is not there.
        while !over() && !self.only.as_ref().is_some_and(BTreeSet::is_empty) {
            self.begin_turn();
            let jitter = self.rng.random_range(pause / 2..=pause + pause / 2);
            runtime::sleep(Duration::from_micros(jitter)).await;
            if over() || !self.ensure_session().await || !self.acts_now() {
                continue;
            }
            if let Err(failure) = workload.operate(&mut self).await {
                assert!(
                    self.pending.is_none(),
                    "an operation of {} ended without its outcome",
                    self.name
                );
                let wants_other = matches!(&failure, Failure::Refused { sqlstate, .. } if sqlstate == "25006");
                if wants_other {
                    // A client that takes any server would find this one again.
                    self.next_server += 1;
                }
                if failure.is_fatal() || wants_other {
                    self.disconnect(&failure.to_string());
                }
            }
        }
        self
    }

    fn begin_turn(&mut self) {
        self.turn += 1;
        self.rng.set_stream(self.turn);
        self.rng.set_word_pos(0);
        self.values = 0;
        assert!(
            self.turn < self.last_turn,
            "{} has more turns than there are values for",
            self.name
        );
    }

    fn acts_now(&self) -> bool {
        self.only.as_ref().is_none_or(|turns| turns.contains(&self.turn))
    }

    /// The open session. Call only from an operation.
    pub fn session(&self) -> &Session {
        &self.current.as_ref().expect("operations run with a session").1
    }

    /// The SQL port of the server of this session, and another port of it.
    pub fn ports(&self, other: u16) -> (String, String) {
        let server = &self.current.as_ref().expect("operations run with a session").0;
        (self.directory.address(server).to_owned(), format!("{server}:{other}"))
    }

    /// How many lists a table has from its beginning on.
    pub fn lists_in(&self, table: &str) -> u64 {
        self.directory.lists.get(table).copied().unwrap_or(0)
    }

    pub fn param(&mut self, name: &str) -> u64 {
        self.spec.param(name, &mut self.rng)
    }

    /// A value that nobody else writes.
    pub fn fresh_value(&mut self) -> i64 {
        self.values += 1;
        assert!(
            self.values < VALUES_OF_A_TURN,
            "an operation of {} writes too many values",
            self.name
        );
        let turn = i64::try_from(self.turn).expect("turns are few");
        (turn * VALUES_OF_A_TURN + self.values) * i64::from(CLIENTS) + i64::from(self.number)
    }

    /// Records the start of an operation. It must be followed by [`Client::ok`] or [`Client::fail`].
    pub fn invoke(&mut self, action: &'static str, writes: Vec<Write>) {
        self.invoke_asking(action, writes, Vec::new());
    }

    /// As [`Client::invoke`], of an operation that changes nothing; `asked` is what it looks for.
    pub fn invoke_reading(&mut self, action: &'static str, asked: Vec<Write>) {
        self.begin(action, Vec::new(), asked, true);
    }

    /// As [`Client::invoke`], of an operation whose writes others may replace: `asked` is what it wants.
    pub fn invoke_asking(&mut self, action: &'static str, writes: Vec<Write>, asked: Vec<Write>) {
        self.begin(action, writes, asked, false);
    }

    fn begin(&mut self, action: &'static str, writes: Vec<Write>, asked: Vec<Write>, only_reads: bool) {
        assert!(self.pending.is_none(), "one operation at a time");
        let server = self.current.as_ref().expect("operations run with a session").0.clone();
        let op = self.directory.recorder.next_op();
        self.pending = Some(op);
        let invoke = Invoke {
            op,
            turn: self.turn,
            workload: self.spec.name.clone(),
            server,
            action,
            writes,
            asked,
            only_reads,
        };
        self.directory.recorder.record(&self.name, What::Invoke(invoke));
    }

    pub fn ok(&mut self, reads: Vec<Read>) {
        self.finish(Outcome::Ok { reads });
    }

    /// Records what `failure` means for the operation and hands it on.
    pub fn fail(&mut self, failure: Failure, commit_sent: bool) -> Failure {
        self.finish(failure.outcome(commit_sent));
        failure
    }

    /// Ends an explicit transaction that failed. What comes of it changes nothing.
    pub async fn rollback(&mut self, failure: &Failure) -> Result<(), Failure> {
        if failure.is_fatal() {
            return Ok(());
        }
        self.session().simple("ROLLBACK").await.map(|_| ())
    }

    fn finish(&mut self, outcome: Outcome) {
        let op = self.pending.take().expect("an operation returns once");
        self.directory.recorder.record(&self.name, What::Return { op, outcome });
    }

    fn disconnect(&mut self, why: &str) {
        if let Some((server, session)) = self.current.take() {
            drop(session);
            let why = why.to_owned();
            self.directory
                .recorder
                .record(&self.name, What::Disconnected { server, why });
        }
    }

    /// Whether there is a session with a server of the wanted kind. One look at every server, then a pause.
    async fn ensure_session(&mut self) -> bool {
        if self.current.as_ref().is_some_and(|(_, session)| !session.is_closed()) {
            return true;
        }
        self.disconnect("connection lost");
        let directory = Arc::clone(&self.directory);
        for _ in 0..directory.servers.len() {
            let (server, _) = &directory.servers[self.next_server % directory.servers.len()];
            if matches!(&self.spec.on, Target::Server(wanted) if wanted != server) {
                self.next_server += 1;
                continue;
            }
            match directory.open(server, &self.name).await {
                Ok(session) if self.suits(&session).await => {
                    let server = server.clone();
                    self.current = Some((server.clone(), session));
                    directory.recorder.record(&self.name, What::Connected { server });
                    return true;
                }
                Ok(_) => {}
                Err(failure) => {
                    let (server, why) = (server.clone(), failure.to_string());
                    directory
                        .recorder
                        .record(&self.name, What::NotConnected { server, why });
                }
            }
            self.next_server += 1;
        }
        runtime::sleep(LOOK_AGAIN).await;
        false
    }

    async fn suits(&self, session: &Session) -> bool {
        let wanted = match self.spec.on {
            Target::Any | Target::Server(_) => return true,
            Target::Primary => "primary",
            Target::Standby => "standby",
        };
        match session.role().await {
            Ok(Some(role)) => role == wanted,
            Ok(None) => wanted == "primary",
            Err(_) => false,
        }
    }
}
