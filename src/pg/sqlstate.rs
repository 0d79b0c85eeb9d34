//! The one table from errors to SQLSTATE and severity.
//!
//! Both matches are total on purpose: a new kind does not compile until it has a code. Its snapshot is the manual page.
//! Source: PostgreSQL's appendix of error codes.

use super::reply::Report;
use super::startup::Refusal;
use crate::sql::{Notice, NoticeKind, NoticeSeverity, SqlError, SqlErrorKind};

/// Five characters, as PostgreSQL has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SqlState(&'static str);

impl SqlState {
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Notice,
    Warning,
    /// The statement failed; the connection stays.
    Error,
    /// The connection ends.
    Fatal,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

/// Code and severity of a failed statement.
pub fn sqlstate(kind: SqlErrorKind) -> (SqlState, Severity) {
    use SqlErrorKind as K;
    let code = match kind {
        K::Syntax => "42601",
        K::Unsupported => "0A000",
        K::UndefinedTable => "42P01",
        K::UndefinedColumn => "42703",
        K::UndefinedFunction => "42883",
        K::UndefinedObject => "42704",
        K::UndefinedParameter => "42P02",
        K::UndefinedDatabase => "3D000",
        K::UndefinedSchema => "3F000",
        K::DuplicateTable => "42P07",
        K::DuplicateColumn => "42701",
        K::DuplicateObject => "42710",
        K::DuplicateDatabase => "42P04",
        K::DuplicateSchema => "42P06",
        K::DuplicatePrepared => "42P05",
        K::DuplicatePortal => "42P03",
        K::AmbiguousColumn => "42702",
        K::Grouping => "42803",
        K::DatatypeMismatch => "42804",
        K::IndeterminateDatatype => "42P18",
        K::CannotCoerce => "42846",
        K::InvalidTableDefinition => "42P16",
        K::InvalidColumnReference => "42P10",
        K::InvalidObjectDefinition => "42P17",
        K::WrongObjectType => "42809",
        K::InsufficientPrivilege => "42501",
        K::NumericOutOfRange => "22003",
        K::StringTooLong => "22001",
        K::InvalidText => "22P02",
        K::InvalidBinary => "22P03",
        K::InvalidEncoding => "22021",
        K::InvalidDatetime => "22007",
        K::DatetimeOverflow => "22008",
        K::DivisionByZero => "22012",
        K::InvalidRegex => "2201B",
        K::InvalidLogarithm => "2201E",
        K::InvalidPower => "2201F",
        K::InvalidEscape => "22025",
        K::InvalidFrameSize => "22013",
        K::NullNotAllowed => "22004",
        K::InvalidParameter => "22023",
        K::BadCopyFormat => "22P04",
        K::Cardinality => "21000",
        K::Data => "22000",
        K::NotNull => "23502",
        K::Unique => "23505",
        K::Check => "23514",
        K::ActiveTransaction => "25001",
        K::NoActiveTransaction => "25P01",
        K::FailedTransaction => "25P02",
        K::ReadOnly => "25006",
        K::UndefinedSavepoint => "3B001",
        K::UndefinedPrepared => "26000",
        K::UndefinedPortal => "34000",
        K::Conflict => "40001",
        K::CompletionUnknown => "40003",
        K::NotInState => "55000",
        K::ObjectInUse => "55006",
        K::CannotChangeSetting => "55P02",
        K::Cancelled => "57014",
        K::Terminated => "57P01",
        K::ConnectionTainted => "57P01",
        K::IdleTimeout => "57P05",
        K::InvalidAuthorization => "28000",
        K::ConnectionLost => "08006",
        K::Protocol => "08P01",
        K::LimitExceeded => "54000",
        K::TooComplex => "54001",
        K::OutOfMemory => "53200",
        K::DiskFull => "53100",
        K::Io => "58030",
        K::Corrupt => "XX001",
        K::Internal => "XX000",
    };
    let severity = match kind {
        K::Terminated | K::IdleTimeout => Severity::Fatal,
        _ => Severity::Error,
    };
    (SqlState(code), severity)
}

/// Code of a connection that is refused before it is a session; always fatal.
pub(super) fn sqlstate_of_refusal(refusal: &Refusal) -> SqlState {
    SqlState(match refusal {
        Refusal::Message(_) | Refusal::MalformedScram(_) | Refusal::Unexpected(_) => "08P01",
        Refusal::Version { .. } | Refusal::Replication | Refusal::Mechanism(_) => "0A000",
        Refusal::NoUser | Refusal::MayNotLogIn { .. } => "28000",
        Refusal::Password { .. } => "28P01",
        Refusal::TooManyConnections | Refusal::TooManyStrangers => "53300",
        Refusal::Timeout => "57014",
        Refusal::ShuttingDown => "57P03",
        Refusal::Session(error) => sqlstate(error.kind).0.0,
    })
}

/// Code of a notice.
pub fn sqlstate_of_notice(kind: NoticeKind) -> SqlState {
    SqlState(match kind {
        NoticeKind::ActiveTransaction => "25001",
        NoticeKind::NoActiveTransaction => "25P01",
        NoticeKind::DuplicateTable => "42P07",
        NoticeKind::DuplicateDatabase => "42P04",
        NoticeKind::Skipped => "00000",
        NoticeKind::NotProvided => "0A000",
        NoticeKind::Warning => "01000",
    })
}

impl Report {
    pub(super) fn of_error(error: &SqlError) -> Report {
        let (code, severity) = sqlstate(error.kind);
        Report {
            detail: error.detail.clone(),
            hint: error.hint.clone(),
            position: error.position,
            context: error.context.clone(),
            object: error.object.clone(),
            ..Report::new(severity, code, &error.message)
        }
    }

    pub(super) fn of_refusal(refusal: &Refusal) -> Report {
        let (detail, hint) = match refusal {
            Refusal::MalformedScram(why) => (Some((*why).to_owned()), None),
            Refusal::Session(error) => (error.detail.clone(), error.hint.clone()),
            Refusal::TooManyConnections => (
                None,
                Some("Raise listener.max_connections, or close idle clients.".into()),
            ),
            _ => (None, None),
        };
        Report {
            detail,
            hint,
            ..Report::new(Severity::Fatal, sqlstate_of_refusal(refusal), refusal.to_string())
        }
    }

    pub(super) fn of_notice(notice: &Notice) -> Report {
        let severity = match notice.severity {
            NoticeSeverity::Notice => Severity::Notice,
            NoticeSeverity::Warning => Severity::Warning,
        };
        Report {
            detail: notice.detail.clone(),
            ..Report::new(severity, sqlstate_of_notice(notice.kind), &notice.message)
        }
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    /// The manual page: every kind, its code and severity.
    #[test]
    fn the_table() {
        let lines: Vec<String> = SqlErrorKind::ALL
            .iter()
            .map(|kind| {
                let (code, severity) = sqlstate(*kind);
                format!("{} {:7} {kind:?}", code.0, severity.as_str())
            })
            .collect();
        insta::with_settings!({ snapshot_path => "../../snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("sqlstate", lines.join("\n"));
        });
    }

    /// The codes that the enumeration's comments name are those of the table.
    #[test]
    fn comments_name_the_codes_of_the_table() {
        let source = include_str!("../sql/error.rs");
        for kind in SqlErrorKind::ALL {
            let (before, _) = source
                .split_once(&format!("\n    {kind:?},"))
                .expect("a kind stands there");
            let comment = before.rsplit("///").next().unwrap_or_default().trim_start();
            let named = comment.split([':', ',', '\n']).next().unwrap_or_default();
            if named.len() == 5
                && named
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            {
                assert_eq!(named, sqlstate(*kind).0.as_str(), "{kind:?}");
            }
        }
    }

    #[test]
    fn codes_are_five_characters_of_postgresql() {
        for kind in SqlErrorKind::ALL {
            let code = sqlstate(*kind).0.0;
            assert_eq!(code.len(), 5, "{kind:?}");
            // postgres-types' neighbour knows every code PostgreSQL has; an invented one would show as `Other`.
            let known = tokio_postgres::error::SqlState::from_code(code);
            assert!(
                !format!("{known:?}").contains("Other"),
                "{kind:?} has a code PostgreSQL does not know: {code}"
            );
        }
    }
}
