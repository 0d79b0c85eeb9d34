//! From a new stream to an authenticated client: encryption requests, version, SCRAM, limits.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rand::RngCore;
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Link, ReadError};
use super::message::{Body, FirstPacket, Message, MessageError, SMALL_BYTES_MAX};
use super::scram::{self, Exchange, ScramError};
use crate::engine::Engine;
use crate::engine::ScramVerifier;
use crate::runtime;
use crate::sql::SqlError;

/// The newest minor version of protocol 3 that is spoken here.
const MINOR_MAX: u16 = 2;

/// Why a connection does not become a session. The client is told, then the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Message(MessageError),
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{MINOR_MAX}")]
    Version { major: u16, minor: u16 },
    #[error("replication connections are not supported")]
    Replication,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    #[error("malformed SCRAM message")]
    MalformedScram(&'static str),
    #[error("authentication mechanism \"{0}\" is not supported: use {ours}", ours = scram::MECHANISM)]
    Mechanism(String),
    #[error("expected {0}")]
    Unexpected(&'static str),
    #[error("password authentication failed for user \"{user}\"")]
    Password { user: String },
    #[error("role \"{user}\" is not permitted to log in")]
    MayNotLogIn { user: String },
    #[error("sorry, too many clients already")]
    TooManyConnections,
    #[error("sorry, too many clients are logging in already")]
    TooManyStrangers,
    #[error("canceling authentication due to timeout")]
    Timeout,
    #[error("the database system is shutting down")]
    ShuttingDown,
    #[error("{0}")]
    Session(SqlError),
}

/// What a start-up packet asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub user: String,
    pub database: String,
    /// Settings, in order: those of `options` first, so that named ones win as in PostgreSQL.
    pub parameters: Vec<(String, String)>,
    minor: u16,
    unknown: Vec<String>,
}

/// What the first packets lead to.
#[derive(Debug)]
pub(super) enum Beginning {
    Request(Request),
    /// A cancel request: nothing is answered.
    Cancel {
        pid: i32,
        secret: i32,
    },
    Refused(Refusal),
    /// The client left.
    Gone,
}

/// Reads up to the start-up packet, declining encryption.
pub(super) async fn begin<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>) -> Beginning {
    // One request for each kind of encryption; more would only keep the connection busy.
    let (mut ssl, mut gss) = (false, false);
    loop {
        let asked = match link.first_packet().await {
            Ok(FirstPacket::Ssl) => &mut ssl,
            Ok(FirstPacket::Gss) => &mut gss,
            Ok(FirstPacket::Cancel { pid, secret }) => return Beginning::Cancel { pid, secret },
            Ok(FirstPacket::Startup {
                major,
                minor,
                parameters,
            }) => {
                return request(major, minor, parameters).map_or_else(Beginning::Refused, Beginning::Request);
            }
            Err(ReadError::Gone) => return Beginning::Gone,
            Err(ReadError::Bad(error)) => return Beginning::Refused(Refusal::Message(error)),
        };
        if std::mem::replace(asked, true) {
            let layout = MessageError::StartupLayout("encryption was declined and asked for again");
            return Beginning::Refused(Refusal::Message(layout));
        }
        link.put_byte(b'N');
        if link.flush().await.is_err() {
            return Beginning::Gone;
        }
    }
}

fn request(major: u16, minor: u16, parameters: Vec<(String, String)>) -> Result<Request, Refusal> {
    if major != 3 {
        return Err(Refusal::Version { major, minor });
    }
    let (mut user, mut database, mut options) = (String::new(), String::new(), String::new());
    let mut named = Vec::new();
    let mut unknown = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" => user = value,
            "database" => database = value,
            "options" => options = value,
            "replication" if ["false", "off", "no", "0"].contains(&value.to_lowercase().as_str()) => {}
            "replication" => return Err(Refusal::Replication),
            name if name.starts_with("_pq_.") => unknown.push(name.to_owned()),
            _ => named.push((name, value)),
        }
    }
    if user.is_empty() {
        return Err(Refusal::NoUser);
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    let mut parameters = command_line_options(&options);
    parameters.extend(named);
    Ok(Request {
        user,
        database,
        parameters,
        minor,
        unknown,
    })
}

/// `-c name=value` and `--name=value`, backslash escaping a blank: what `PGOPTIONS` holds.
fn command_line_options(options: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        let word = words.last_mut().expect("there is always a word");
        match character {
            '\\' => word.extend(characters.next()),
            character if character.is_whitespace() => words.push(String::new()),
            character => word.push(character),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => setting.to_owned(),
            (None, Some("")) => words.next().unwrap_or_default(),
            (None, Some(setting)) => setting.to_owned(),
            (None, None) => continue,
        };
        if let Some((name, value)) = setting.split_once('=') {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

/// Proves that the client knows the password of the user it names. `None` when it left meanwhile.
pub(super) async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    engine: &Engine,
    mock_secret: &[u8; 32],
    request: &Request,
) -> Option<Result<(), Refusal>> {
    if request.minor > MINOR_MAX || !request.unknown.is_empty() {
        let unknown: Vec<&str> = request.unknown.iter().map(String::as_str).collect();
        link.reply()
            .negotiate_protocol_version(request.minor.min(MINOR_MAX), &unknown);
    }
    let user = &request.user;
    let role = match engine.system().role(user) {
        Ok(role) => role,
        Err(error) => return Some(Err(Refusal::Session(error.into()))),
    };
    let may_log_in = role.as_ref().is_some_and(|role| role.login);
    let verifier = role.and_then(|role| role.verifier);
    let genuine = verifier.is_some();
    let verifier = verifier.unwrap_or_else(|| ScramVerifier::of_nobody(mock_secret, user));

    link.reply().authentication_sasl(scram::MECHANISM);
    let first = match sasl_initial(answer(link).await?) {
        Ok(first) => first,
        Err(refusal) => return Some(Err(refusal)),
    };
    let exchange = match Exchange::begin(&first, verifier, genuine, &server_nonce()) {
        Ok(exchange) => exchange,
        Err(error) => return Some(Err(refused(error, user))),
    };
    link.reply().authentication_sasl_continue(exchange.server_first());
    let last = match answer(link).await? {
        Ok(last) => last,
        Err(refusal) => return Some(Err(refusal)),
    };
    match exchange.finish(&last) {
        Ok(server_final) => link.reply().authentication_sasl_final(&server_final),
        Err(error) => return Some(Err(refused(error, user))),
    }
    if !may_log_in {
        return Some(Err(Refusal::MayNotLogIn { user: user.clone() }));
    }
    link.reply().authentication_ok();
    Some(Ok(()))
}

fn refused(error: ScramError, user: &str) -> Refusal {
    match error {
        ScramError::Malformed(why) => Refusal::MalformedScram(why),
        ScramError::WrongProof => Refusal::Password { user: user.to_owned() },
    }
}

/// The client's answer to what was written; `None` when it left.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>) -> Option<Result<Bytes, Refusal>> {
    link.flush().await.ok()?;
    match link.frame(SMALL_BYTES_MAX).await {
        Err(ReadError::Gone) => None,
        Err(ReadError::Bad(error)) => Some(Err(Refusal::Message(error))),
        Ok(frame) => match frame.decode() {
            Ok(Message::Password(bytes)) => Some(Ok(bytes)),
            Ok(Message::Terminate) => None,
            Ok(_) => Some(Err(Refusal::Unexpected("an answer to the authentication request"))),
            Err(error) => Some(Err(Refusal::Message(error))),
        },
    }
}

/// The data of a SASLInitialResponse.
fn sasl_initial(answer: Result<Bytes, Refusal>) -> Result<Bytes, Refusal> {
    let mut body = Body(answer?);
    let mechanism = body.text().map_err(Refusal::Message)?;
    if mechanism != scram::MECHANISM {
        return Err(Refusal::Mechanism(mechanism));
    }
    let data = body.counted().map_err(Refusal::Message)?;
    body.end().map_err(Refusal::Message)?;
    data.ok_or(Refusal::MalformedScram("the first message is missing"))
}

/// Printable and without a comma, as the standard wants it.
fn server_nonce() -> String {
    let mut bytes = [0; 18];
    runtime::rng("scram nonce").fill_bytes(&mut bytes);
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        let asked = request(3, 0, named(&[("user", "u"), ("application_name", "psql")])).unwrap();
        assert_eq!((asked.user.as_str(), asked.database.as_str()), ("u", "u"));
        assert_eq!(asked.parameters, named(&[("application_name", "psql")]));
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        assert_eq!(request(2, 0, vec![]), Err(Refusal::Version { major: 2, minor: 0 }));
        assert_eq!(request(3, 0, vec![]), Err(Refusal::NoUser));
        let replication = |value| request(3, 0, named(&[("user", "u"), ("replication", value)]));
        assert_eq!(replication("database"), Err(Refusal::Replication));
        assert!(replication("off").is_ok());
    }

    #[test]
    fn options_become_settings_before_named_ones() {
        let options = r"-c search_path=a\ b --statement-timeout=5s -cx.y=1 -d junk -c";
        let asked = request(
            3,
            0,
            named(&[("options", options), ("user", "u"), ("search_path", "c")]),
        )
        .unwrap();
        let expected = [
            ("search_path", "a b"),
            ("statement_timeout", "5s"),
            ("x.y", "1"),
            ("search_path", "c"),
        ];
        assert_eq!(asked.parameters, named(&expected));
    }

    #[test]
    fn unknown_protocol_options_are_negotiated_not_refused() {
        let asked = request(3, 9, named(&[("user", "u"), ("_pq_.compress", "1")])).unwrap();
        assert_eq!((asked.minor, asked.unknown), (9, vec!["_pq_.compress".to_owned()]));
    }
}
