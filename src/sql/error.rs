//! What can go wrong with a statement, said so that the client knows what to do.
//!
//! An error is a kind and the words for this case. The kind is what programs react to: each has exactly one SQLSTATE, in
//! the one table of `pg/sqlstate.rs`, whose `match` is total. The words follow PostgreSQL's where PostgreSQL has the same
//! error, and the specification's keywords where clients are told to look for them.

/// The enumeration and its list, from one text: neither can have what the other lacks.
macro_rules! kinds {
    ($(#[$of_enum:meta])* pub enum $name:ident { $($(#[$of_kind:meta])* $kind:ident,)* }) => {
        $(#[$of_enum])*
        pub enum $name {
            $($(#[$of_kind])* $kind,)*
        }

        impl $name {
            /// Every kind, for tables and tests that walk them.
            pub const ALL: &[$name] = &[$($name::$kind),*];
        }
    };
}

kinds! {
/// What kind of failure it is. Each kind has one SQLSTATE (named here, decided in `pg/sqlstate.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SqlErrorKind {
    /// 42601: the text is not SQL.
    Syntax,
    /// 0A000: SQL, but something this server cannot do. The message names the construct.
    Unsupported,
    /// 42P01
    UndefinedTable,
    /// 42703
    UndefinedColumn,
    /// 42883
    UndefinedFunction,
    /// 42704: a type, role or setting that does not exist.
    UndefinedObject,
    /// 42P02: `$3` where two parameters are known.
    UndefinedParameter,
    /// 3D000
    UndefinedDatabase,
    /// 3F000
    UndefinedSchema,
    /// 42P07
    DuplicateTable,
    /// 42701
    DuplicateColumn,
    /// 42710: a role that exists.
    DuplicateObject,
    /// 42P04
    DuplicateDatabase,
    /// 42P06
    DuplicateSchema,
    /// 42P05: a prepared statement of this name exists.
    DuplicatePrepared,
    /// 42P03: a portal of this name exists.
    DuplicatePortal,
    /// 42702
    AmbiguousColumn,
    /// 42803: a column neither grouped nor aggregated.
    Grouping,
    /// 42804: an expression of a type that cannot be assigned.
    DatatypeMismatch,
    /// 42P18: nothing says what type a parameter has.
    IndeterminateDatatype,
    /// 42846: no cast between two types.
    CannotCoerce,
    /// 42P16: a table that makes no sense (two primary keys, ...).
    InvalidTableDefinition,
    /// 42P10: `ON CONFLICT (columns)` that match no constraint.
    InvalidColumnReference,
    /// A definition that cannot be.
    InvalidObjectDefinition,
    /// 42809: not a table.
    WrongObjectType,
    /// 42501
    InsufficientPrivilege,
    /// 22003
    NumericOutOfRange,
    /// 22001
    StringTooLong,
    /// 22P02: text that is no value of its type.
    InvalidText,
    /// 22P03: bytes that are no value of their type.
    InvalidBinary,
    /// 22021: text that is not valid UTF-8, or contains a zero byte.
    InvalidEncoding,
    /// 22007
    InvalidDatetime,
    /// 22008
    DatetimeOverflow,
    /// 22012
    DivisionByZero,
    /// 2201B: no regular expression.
    InvalidRegex,
    /// 2201E: a logarithm of what has none.
    InvalidLogarithm,
    /// 2201F: a root or power of what has none.
    InvalidPower,
    /// 22025: a pattern that ends in the middle of an escape sequence.
    InvalidEscape,
    /// 22013: a window frame that begins or ends a negative distance away.
    InvalidFrameSize,
    /// 22004
    NullNotAllowed,
    /// 22023: an option or argument out of its set.
    InvalidParameter,
    /// 22P04: a COPY line that does not fit.
    BadCopyFormat,
    /// 21000: a row would be touched twice by one ON CONFLICT DO UPDATE; a scalar subquery with several rows.
    Cardinality,
    /// 22000: any other data that cannot be computed with.
    Data,
    /// 23502
    NotNull,
    /// 23505
    Unique,
    /// 23514
    Check,
    /// 25001: not inside a transaction block (or a block is already open).
    ActiveTransaction,
    /// 25P01: only inside a transaction block.
    NoActiveTransaction,
    /// 25P02: the block has failed; only ROLLBACK helps.
    FailedTransaction,
    /// 25006: this server, database or transaction takes no writes.
    ReadOnly,
    /// 3B001
    UndefinedSavepoint,
    /// 26000
    UndefinedPrepared,
    /// 34000
    UndefinedPortal,
    /// 40001: another transaction was first; run the transaction again.
    Conflict,
    /// 40003: it is not known whether the commit is durable.
    CompletionUnknown,
    /// 55000: the object or server is not in the state for this.
    NotInState,
    /// 55006: in use by others.
    ObjectInUse,
    /// 55P02: a setting that cannot be changed here.
    CannotChangeSetting,
    /// 57014: cancelled by the user or by a time limit.
    Cancelled,
    /// 57P01, FATAL: the server ends this connection.
    Terminated,
    /// 57P01, ERROR: the role changed under this connection; reconnect.
    ConnectionTainted,
    /// 57P05, FATAL: the client was silent for too long.
    IdleTimeout,
    /// 28000
    InvalidAuthorization,
    /// 08006: the client went away while results were sent.
    ConnectionLost,
    /// 08P01: the client's messages make no sense here.
    Protocol,
    /// 54000: a limit of this server.
    LimitExceeded,
    /// 54001: nested deeper than this server follows.
    TooComplex,
    /// 53200
    OutOfMemory,
    /// 53100
    DiskFull,
    /// 58030: the disk or a peer failed.
    Io,
    /// XX001
    Corrupt,
    /// XX000: an error of ours.
    Internal,
}
}

/// A failed statement: its kind and the words for this case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    pub kind: SqlErrorKind,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Where in the statement's text, counted in characters from 1.
    pub position: Option<u32>,
    /// What was being done, where the statement alone does not say it: `COPY t, line 3`.
    pub context: Option<Box<str>>,
    /// The object whose rule was broken.
    pub object: Option<Box<ErrorObject>>,
    /// The name that is wrong: who has the statement's text finds the position by it.
    pub mention: Option<Box<Mention>>,
}

/// The names that drivers read from fields of their own, to tell a constraint from another without reading a sentence.
/// Filled as PostgreSQL does for errors of class 23.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorObject {
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

/// A name in a statement that means nothing, or too much. Folded, as it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mention {
    /// `t` or `s.t`
    Relation(String),
    /// `c`, or `t.c`
    Column { relation: Option<String>, name: String },
    /// `f(...)`
    Function(String),
}

impl SqlError {
    pub fn new(kind: SqlErrorKind, message: impl Into<String>) -> SqlError {
        SqlError {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            object: None,
            mention: None,
        }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> SqlError {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> SqlError {
        self.hint = Some(hint.into());
        self
    }

    /// Character position in the statement's text, from 1.
    #[must_use]
    pub fn at(mut self, position: u32) -> SqlError {
        self.position = Some(position);
        self
    }

    #[must_use]
    pub fn context(mut self, context: impl Into<Box<str>>) -> SqlError {
        self.context = Some(context.into());
        self
    }

    #[must_use]
    pub fn object(mut self, object: ErrorObject) -> SqlError {
        self.object = Some(Box::new(object));
        self
    }

    #[must_use]
    pub fn mention(mut self, mention: Mention) -> SqlError {
        self.mention = Some(Box::new(mention));
        self
    }

    /// 0A000, naming the construct: `CREATE VIEW is not supported`.
    pub fn unsupported(construct: impl std::fmt::Display) -> SqlError {
        SqlError::new(SqlErrorKind::Unsupported, format!("{construct} is not supported"))
    }

    pub fn undefined_table(name: impl std::fmt::Display) -> SqlError {
        let name = name.to_string();
        SqlError::new(
            SqlErrorKind::UndefinedTable,
            format!("relation \"{name}\" does not exist"),
        )
        .mention(Mention::Relation(name))
    }

    pub fn undefined_column(name: impl std::fmt::Display) -> SqlError {
        let name = name.to_string();
        SqlError::new(
            SqlErrorKind::UndefinedColumn,
            format!("column \"{name}\" does not exist"),
        )
        .mention(Mention::Column { relation: None, name })
    }

    /// 42702
    pub fn ambiguous_column(name: impl std::fmt::Display) -> SqlError {
        let name = name.to_string();
        SqlError::new(
            SqlErrorKind::AmbiguousColumn,
            format!("column reference \"{name}\" is ambiguous"),
        )
        .mention(Mention::Column { relation: None, name })
    }

    pub fn internal(what: impl Into<String>) -> SqlError {
        SqlError::new(SqlErrorKind::Internal, what)
    }
}
