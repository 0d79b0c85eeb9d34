//! One session with a server, by SQL over the simulated network or directly, and what its errors mean.
//!
//! Invariant: an error is called certain only if the statement that failed cannot have committed. A lost connection, a
//! time-out and 40003 leave it unknown once a commit was on its way.

use std::time::Duration;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage, types::ToSql};
use understudy::runtime;
use understudy::runtime::net::TcpStream;

use super::direct::Line;
use crate::history::{LOST, Outcome};
use crate::scenario::cluster::Role;

/// How long a client waits for a connection and for an answer before it gives up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// An operator waits longer: a step is tried once, and a demotion that succeeds in the end may wait for standbys twice
/// and for sessions between, ten seconds each.
const OPERATOR_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const OPERATOR_ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Why a statement did not answer.
#[derive(Debug)]
pub enum Failure {
    /// The server said no.
    Refused { sqlstate: String, message: String },
    /// No answer: the connection is gone, or nothing came in time.
    Lost(String),
}

impl Failure {
    /// What is known about an operation that failed like this, after its commit was sent or before.
    pub fn outcome(&self, commit_sent: bool) -> Outcome {
        match self {
            Failure::Refused { sqlstate, .. } if !commit_sent || certain(sqlstate) => Outcome::Failed {
                sqlstate: sqlstate.clone(),
            },
            Failure::Refused { sqlstate, .. } => Outcome::Unknown { why: sqlstate.clone() },
            Failure::Lost(_) if !commit_sent => Outcome::Failed {
                sqlstate: LOST.to_owned(),
            },
            Failure::Lost(why) => Outcome::Unknown { why: why.clone() },
        }
    }

    /// Whether the session can go on.
    pub fn is_fatal(&self) -> bool {
        match self {
            Failure::Refused { sqlstate, .. } => sqlstate.starts_with("57P") || sqlstate.starts_with("08"),
            Failure::Lost(_) => true,
        }
    }
}

/// Codes that say that nothing was committed. A disk that is full or takes no more writes has taken nothing of a
/// commit that is refused for it; what may have been taken is 40003.
fn certain(sqlstate: &str) -> bool {
    const CLASSES: [&str; 5] = ["22", "23", "25", "42", "0A"];
    const CODES: [&str; 3] = ["40001", "53100", "58030"];
    CODES.contains(&sqlstate) || CLASSES.contains(&&sqlstate[..2])
}

/// A table that was never made holds nothing; whether that is right is for the checks to say. Whatever else keeps it from
/// being read must not look like an empty table.
pub fn rows_or_no_table<T>(read: Result<Vec<T>, Failure>) -> Result<Vec<T>, Failure> {
    match read {
        Err(Failure::Refused { sqlstate, .. }) if sqlstate == "42P01" => Ok(Vec::new()),
        read => read,
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused { sqlstate, message } => write!(f, "{sqlstate} {message}"),
            Failure::Lost(why) => f.write_str(why),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(db) => Failure::Refused {
                sqlstate: db.code().code().to_owned(),
                message: db.message().to_owned(),
            },
            None => Failure::Lost("connection lost".to_owned()),
        }
    }
}

/// Who logs in where.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub database: String,
}

pub struct Session {
    way: Way,
    answer_timeout: Duration,
}

/// How the server is spoken to.
enum Way {
    Sql {
        client: Client,
        /// Ends the connection when the session is dropped.
        _driver: runtime::AbortOnDrop<()>,
    },
    /// It has no SQL.
    Direct(Line),
}

impl Session {
    /// Connects to `address` (`host:port`) and logs in.
    pub async fn open(address: &str, login: &Login, application: &str) -> Result<Session, Failure> {
        Session::open_within(CONNECT_TIMEOUT, address, login, application).await
    }

    /// As [`Session::open`], for somebody who does not look elsewhere.
    pub async fn open_patiently(address: &str, login: &Login, application: &str) -> Result<Session, Failure> {
        let session = Session::open_within(OPERATOR_CONNECT_TIMEOUT, address, login, application).await?;
        Ok(session.patient())
    }

    async fn open_within(limit: Duration, address: &str, login: &Login, application: &str) -> Result<Session, Failure> {
        let connect = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| Failure::Lost(format!("connect: {}", error.kind())))?;
            let mut config = tokio_postgres::Config::new();
            config
                .user(&login.user)
                .password(&login.password)
                .dbname(&login.database)
                .application_name(application);
            Ok::<_, Failure>(config.connect_raw(stream, NoTls).await?)
        };
        let (client, connection) = in_time(limit, connect).await?;
        let driver = runtime::spawn("sql client", async move {
            // How a connection ends is learned from the statement that waits on it.
            let _ = connection.await;
        });
        let way = Way::Sql {
            client,
            _driver: driver.abort_on_drop(),
        };
        Ok(Session {
            way,
            answer_timeout: ANSWER_TIMEOUT,
        })
    }

    pub fn direct(line: Line) -> Session {
        Session {
            way: Way::Direct(line),
            answer_timeout: ANSWER_TIMEOUT,
        }
    }

    /// As of somebody who does not look elsewhere.
    pub fn patient(self) -> Session {
        Session {
            answer_timeout: OPERATOR_ANSWER_TIMEOUT,
            ..self
        }
    }

    /// The line into a server that has no SQL.
    pub fn line(&self) -> Option<&Line> {
        match &self.way {
            Way::Sql { .. } => None,
            Way::Direct(line) => Some(line),
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        match &self.way {
            Way::Sql { client, .. } => Ok(client),
            Way::Direct(_) => Err(Failure::Refused {
                sqlstate: "0A000".to_owned(),
                message: "this server has no SQL".to_owned(),
            }),
        }
    }

    /// The simple protocol: several statements, text rows.
    pub async fn simple(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let client = self.client()?;
        let messages = in_time(self.answer_timeout, async { Ok(client.simple_query(sql).await?) }).await?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The extended protocol: one statement with parameters.
    pub async fn execute(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Failure> {
        let client = self.client()?;
        in_time(self.answer_timeout, async { Ok(client.execute(sql, params).await?) }).await
    }

    /// What comes over a line, in time.
    pub async fn over<T>(&self, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        in_time(self.answer_timeout, answer).await
    }

    /// `SHOW dolt_cluster_role`, or None on a server of its own.
    pub async fn role(&self) -> Result<Option<String>, Failure> {
        if let Way::Direct(line) = &self.way {
            return self.over(line.role()).await;
        }
        match self.simple("SHOW dolt_cluster_role").await {
            Ok(rows) => Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten()),
            Err(Failure::Refused { sqlstate, .. }) if sqlstate == "42704" => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Changes the server's role, and says what it answered.
    pub async fn assume_role(&self, role: Role, epoch: u64) -> Result<String, Failure> {
        match &self.way {
            Way::Sql { .. } => {
                let run = format!("SELECT dolt_assume_cluster_role('{}', {epoch})", role.word());
                self.simple(&run).await.map(|rows| format!("{rows:?}"))
            }
            Way::Direct(line) => {
                let epoch = i64::try_from(epoch).expect("epochs of scenarios are small");
                self.over(line.assume(role.word(), epoch))
                    .await
                    .map(|()| "done".to_owned())
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        match &self.way {
            Way::Sql { client, .. } => client.is_closed(),
            Way::Direct(line) => line.is_closed(),
        }
    }
}

async fn in_time<T>(limit: Duration, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match runtime::timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Lost(format!("no answer within {} s", limit.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_table_is_an_empty_one() {
        let refused = |code: &str| Failure::Refused {
            sqlstate: code.to_owned(),
            message: String::new(),
        };
        assert_eq!(rows_or_no_table(Ok(vec![1])).unwrap(), [1]);
        assert!(rows_or_no_table::<u8>(Err(refused("42P01"))).unwrap().is_empty());
        for failure in [refused("XX001"), refused("57014"), Failure::Lost(String::new())] {
            assert!(rows_or_no_table::<u8>(Err(failure)).is_err());
        }
    }

    #[test]
    fn only_what_cannot_have_committed_is_certain() {
        let refused = |code: &str| Failure::Refused {
            sqlstate: code.to_owned(),
            message: String::new(),
        };
        for code in ["40001", "53100", "58030", "25006", "25P02", "23505", "42P01"] {
            assert!(matches!(refused(code).outcome(true), Outcome::Failed { .. }), "{code}");
        }
        for code in ["40003", "57P01", "XX000", "XX001"] {
            assert!(matches!(refused(code).outcome(true), Outcome::Unknown { .. }), "{code}");
            assert!(matches!(refused(code).outcome(false), Outcome::Failed { .. }), "{code}");
        }
        assert!(matches!(
            Failure::Lost(String::new()).outcome(true),
            Outcome::Unknown { .. }
        ));
        assert!(matches!(
            Failure::Lost(String::new()).outcome(false),
            Outcome::Failed { .. }
        ));
    }
}
