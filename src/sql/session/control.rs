//! Transaction control and settings: BEGIN to RELEASE, SET, RESET, DISCARD.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    ContextModifier, DiscardObject, Expr, Interval, ObjectName, Reset, Set, Statement, TransactionAccessMode,
    TransactionIsolationLevel, TransactionMode, UnaryOperator, Value as Literal,
};

use super::block::{Block, Kind, NamedSavepoint};
use super::{Deallocated, Prepared, Session};
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names::{folded, quoted};
use crate::sql::plan::interval::parse_interval;
use crate::sql::result::{Notice, NoticeKind, NoticeSeverity, QueryResult};
use crate::sql::text::datetime::MICROS_PER_SECOND;
use crate::sql::text::zone::Zone;

/// Most savepoints of one transaction: each holds a copy of the edits made so far.
const SAVEPOINTS_MAX: usize = 10_000;

impl Session {
    /// 25P02 unless the block is sound or the statement leads out of it.
    pub(super) fn check_not_failed(&self, statement: &Statement) -> Result<(), SqlError> {
        let Block::Open(open) = &self.block else { return Ok(()) };
        if !open.failed || matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. }) {
            return Ok(());
        }
        Err(SqlError::new(
            SqlErrorKind::FailedTransaction,
            "current transaction is aborted, commands ignored until end of transaction block",
        ))
    }

    fn warn(&mut self, kind: NoticeKind, message: &str) {
        self.notice(Notice {
            severity: NoticeSeverity::Warning,
            kind,
            message: message.to_string(),
            detail: None,
        });
    }

    pub(super) fn begin_block(&mut self, modes: &[TransactionMode]) -> Result<QueryResult, SqlError> {
        let already = matches!(&self.block, Block::Open(open) if open.kind == Kind::Explicit);
        if already {
            self.warn(
                NoticeKind::ActiveTransaction,
                "there is already a transaction in progress",
            );
        }
        // In a text of several statements BEGIN turns what has been done so far into the block's beginning.
        let open = self.open(Kind::Explicit);
        open.kind = Kind::Explicit;
        open.executed.clear();
        self.set_modes(modes, true)?;
        Ok(Session::command("BEGIN"))
    }

    fn set_modes(&mut self, modes: &[TransactionMode], local: bool) -> Result<(), SqlError> {
        let prefix = if local { "" } else { "default_" };
        let settings = Arc::make_mut(&mut self.settings);
        for mode in modes {
            let (name, value) = match mode {
                TransactionMode::AccessMode(TransactionAccessMode::ReadOnly) => ("transaction_read_only", "on"),
                TransactionMode::AccessMode(TransactionAccessMode::ReadWrite) => ("transaction_read_only", "off"),
                TransactionMode::IsolationLevel(level) => ("transaction_isolation", isolation(*level)?),
            };
            settings.set(&format!("{prefix}{name}"), value, local)?;
        }
        if modes.contains(&TransactionMode::IsolationLevel(
            TransactionIsolationLevel::Serializable,
        )) {
            self.warn_of_snapshots();
        }
        Ok(())
    }

    /// Every isolation level is snapshot isolation (spec/version-control.md 4); who asks for more is told.
    fn warn_of_snapshots(&mut self) {
        self.not_provided(
            "SERIALIZABLE gives snapshot isolation".to_string(),
            "Two transactions that change the same row conflict. What a transaction only read may be changed by another \
             that commits before it (write skew).",
        );
    }

    /// COMMIT and END. A failed block is rolled back, and says so by its tag.
    pub(super) async fn commit_block(&mut self) -> Result<QueryResult, SqlError> {
        match &self.block {
            Block::Open(open) if open.failed => {
                self.give_up();
                return Ok(Session::command("ROLLBACK"));
            }
            Block::Open(open) if open.kind == Kind::Explicit => {}
            _ => self.warn(NoticeKind::NoActiveTransaction, "there is no transaction in progress"),
        }
        self.commit().await?;
        Ok(Session::command("COMMIT"))
    }

    pub(super) fn rollback_block(&mut self) -> QueryResult {
        if !matches!(&self.block, Block::Open(open) if open.kind == Kind::Explicit) {
            self.warn(NoticeKind::NoActiveTransaction, "there is no transaction in progress");
        }
        self.give_up();
        Session::command("ROLLBACK")
    }

    pub(super) fn savepoint(&mut self, name: &str) -> Result<QueryResult, SqlError> {
        self.require_block("SAVEPOINT")?;
        let mark = self.settings.mark();
        let open = self.open(Kind::Explicit);
        if open.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(SqlError::new(
                SqlErrorKind::LimitExceeded,
                format!("a transaction holds at most {SAVEPOINTS_MAX} savepoints"),
            )
            .hint("Release savepoints that are no longer needed."));
        }
        let point = open.transaction.as_ref().map(|transaction| transaction.savepoint());
        open.savepoints.push(NamedSavepoint {
            name: name.to_string(),
            point,
            mark,
        });
        Ok(Session::command("SAVEPOINT"))
    }

    pub(super) fn rollback_to(&mut self, name: &str) -> Result<QueryResult, SqlError> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let open = self.open(Kind::Explicit);
        let index = open.savepoint(name)?;
        // The savepoint itself stays, to come back to again; those after it are gone.
        open.savepoints.truncate(index + 1);
        let (point, mark) = (
            open.savepoints[index].point.clone(),
            open.savepoints[index].mark.clone(),
        );
        if let Some(point) = point {
            open.edit()?.rollback_to(point);
        }
        open.failed = false;
        Arc::make_mut(&mut self.settings).restore(mark);
        Ok(Session::command("ROLLBACK"))
    }

    pub(super) fn release(&mut self, name: &str) -> Result<QueryResult, SqlError> {
        self.require_block("RELEASE SAVEPOINT")?;
        let open = self.open(Kind::Explicit);
        let index = open.savepoint(name)?;
        open.savepoints.truncate(index);
        Ok(Session::command("RELEASE"))
    }

    fn require_block(&self, what: &str) -> Result<(), SqlError> {
        match &self.block {
            Block::Open(open) if open.kind == Kind::Explicit => Ok(()),
            _ => Err(SqlError::new(
                SqlErrorKind::NoActiveTransaction,
                format!("{what} can only be used in transaction blocks"),
            )),
        }
    }

    pub(super) fn set_statement(&mut self, set: &Set) -> Result<QueryResult, SqlError> {
        match set {
            Set::SingleAssignment {
                scope,
                hivevar: false,
                variable,
                values,
            } => {
                let local = match scope {
                    Some(ContextModifier::Local) => true,
                    None | Some(ContextModifier::Session) => false,
                    Some(ContextModifier::Global) => return Err(SqlError::unsupported("SET GLOBAL")),
                };
                self.set_setting(&setting_name(variable), values, local)?;
            }
            Set::SetTimeZone { local, value } => self.set_setting("timezone", std::slice::from_ref(value), *local)?,
            Set::SetNames {
                charset_name,
                collation_name: None,
            } => {
                let encoding = charset_name.value.clone();
                self.change_setting("client_encoding", Some(&encoding), false)?;
            }
            Set::SetNamesDefault {} => self.change_setting("client_encoding", None, false)?,
            Set::SetTransaction {
                modes,
                snapshot: None,
                session,
            } => {
                if !*session && !matches!(&self.block, Block::Open(open) if open.kind == Kind::Explicit) {
                    self.warn(
                        NoticeKind::NoActiveTransaction,
                        "SET TRANSACTION can only be used in transaction blocks",
                    );
                } else {
                    self.set_modes(modes, !*session)?;
                }
            }
            Set::SetRole { .. } => return Err(SqlError::unsupported("SET ROLE")),
            Set::SetSessionAuthorization(_) => return Err(SqlError::unsupported("SET SESSION AUTHORIZATION")),
            other => return Err(SqlError::unsupported(format_args!("{other}"))),
        }
        Ok(Session::command("SET"))
    }

    fn set_setting(&mut self, name: &str, values: &[Expr], local: bool) -> Result<(), SqlError> {
        let value = setting_value(name, values)?;
        self.change_setting(name, value.as_deref(), local)
    }

    /// SET, SET LOCAL and set_config(); None is DEFAULT.
    pub(in crate::sql) fn change_setting(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<(), SqlError> {
        if local && !matches!(&self.block, Block::Open(_)) {
            self.warn(
                NoticeKind::NoActiveTransaction,
                "SET LOCAL can only be used in transaction blocks",
            );
            return Ok(());
        }
        if let Some(value) = value
            && value.eq_ignore_ascii_case("serializable")
            && ["transaction_isolation", "default_transaction_isolation"]
                .iter()
                .any(|setting| name.eq_ignore_ascii_case(setting))
        {
            self.warn_of_snapshots();
        }
        let settings = Arc::make_mut(&mut self.settings);
        match value {
            Some(value) => settings.set(name, value, local),
            None => settings.reset(name, local),
        }
    }

    pub(super) fn reset(&mut self, reset: &Reset) -> Result<QueryResult, SqlError> {
        match reset {
            Reset::ALL => Arc::make_mut(&mut self.settings).reset_all(),
            Reset::ConfigurationParameter(name) => self.change_setting(&setting_name(name), None, false)?,
        }
        Ok(Session::command("RESET"))
    }

    pub(super) fn discard(&mut self, what: &DiscardObject) -> Result<QueryResult, SqlError> {
        Ok(match what {
            DiscardObject::ALL => {
                if self.in_block() {
                    return Err(SqlError::new(
                        SqlErrorKind::ActiveTransaction,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.prepared.clear();
                self.deallocated.push(Deallocated::All);
                Arc::make_mut(&mut self.settings).reset_all();
                Session::command("DISCARD ALL")
            }
            DiscardObject::PLANS => Session::command("DISCARD PLANS"),
            DiscardObject::SEQUENCES => Session::command("DISCARD SEQUENCES"),
            DiscardObject::TEMP => Session::command("DISCARD TEMP"),
        })
    }

    /// SQL's PREPARE.
    pub(super) fn keep_prepared(&mut self, name: &str, prepared: Prepared) -> Result<QueryResult, SqlError> {
        if self.prepared.contains_key(name) {
            return Err(SqlError::new(
                SqlErrorKind::DuplicateObject,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        self.prepared.insert(name.to_string(), Arc::new(prepared));
        Ok(Session::command("PREPARE"))
    }

    pub(super) fn find_prepared(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            SqlError::new(
                SqlErrorKind::UndefinedPrepared,
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    pub(super) fn deallocate(&mut self, name: &str) -> Result<QueryResult, SqlError> {
        if name == "all" {
            self.prepared.clear();
            self.deallocated.push(Deallocated::All);
            return Ok(Session::command("DEALLOCATE ALL"));
        }
        if self.prepared.remove(name).is_none() {
            // Perhaps one of the protocol's, which drivers forget this way too; the wire knows their names.
            self.deallocated.push(Deallocated::Named(name.to_string()));
        }
        Ok(Session::command("DEALLOCATE"))
    }
}

fn isolation(level: TransactionIsolationLevel) -> Result<&'static str, SqlError> {
    Ok(match level {
        TransactionIsolationLevel::ReadUncommitted => "read uncommitted",
        TransactionIsolationLevel::ReadCommitted => "read committed",
        TransactionIsolationLevel::RepeatableRead => "repeatable read",
        TransactionIsolationLevel::Serializable => "serializable",
        TransactionIsolationLevel::Snapshot => return Err(SqlError::unsupported("ISOLATION LEVEL SNAPSHOT")),
    })
}

/// `my.setting` from its parts.
pub(super) fn setting_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name
        .0
        .iter()
        .map(|part| part.as_ident().map_or_else(String::new, folded))
        .collect();
    parts.join(".")
}

/// The value's text; None for DEFAULT.
fn setting_value(name: &str, values: &[Expr]) -> Result<Option<String>, SqlError> {
    let is_zone = name.eq_ignore_ascii_case("timezone");
    if let [Expr::Identifier(word)] = values
        && word.quote_style.is_none()
        && (word.value.eq_ignore_ascii_case("default") || is_zone && word.value.eq_ignore_ascii_case("local"))
    {
        return Ok(None);
    }
    if let [Expr::Interval(interval)] = values
        && is_zone
    {
        return zone_of_interval(interval).map(Some);
    }
    let is_list = name.eq_ignore_ascii_case("search_path") || name.eq_ignore_ascii_case("datestyle");
    if values.len() != 1 && !is_list {
        return Err(SqlError::new(
            SqlErrorKind::InvalidParameter,
            format!("SET {name} takes only one argument"),
        ));
    }
    let mut words = Vec::with_capacity(values.len());
    for value in values {
        let word = setting_word(value)?;
        // Each schema is one name, whatever its characters.
        words.push(if name.eq_ignore_ascii_case("search_path") {
            quoted_name(&word)
        } else {
            word
        });
    }
    Ok(Some(words.join(", ")))
}

/// `INTERVAL '-05:30' HOUR TO MINUTE` as the name of that offset.
fn zone_of_interval(interval: &Interval) -> Result<String, SqlError> {
    let refused = |detail: &str| {
        SqlError::new(
            SqlErrorKind::InvalidParameter,
            format!("invalid value for parameter \"TimeZone\": \"{interval}\""),
        )
        .detail(detail)
    };
    let mut text = setting_word(&interval.value)?;
    if let Some(field) = &interval.leading_field
        && !text.contains(':')
    {
        text = format!("{text} {field}");
    }
    let (months, days, micros) = parse_interval(&text)?;
    if months != 0 {
        return Err(refused("Cannot specify months in time zone interval."));
    }
    if days != 0 {
        return Err(refused("Cannot specify days in time zone interval."));
    }
    let zone = Zone::of_seconds(micros / MICROS_PER_SECOND);
    zone.map(|(name, _)| name)
        .ok_or_else(|| refused("UTC timezone offset is out of range."))
}

fn quoted_name(name: &str) -> String {
    let plain = name
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_string() } else { quoted(name) }
}

fn setting_word(value: &Expr) -> Result<String, SqlError> {
    match value {
        Expr::Identifier(word) => Ok(folded(word)),
        Expr::Value(value) => match &value.value {
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => Ok(text.clone()),
            Literal::Number(digits, _) => Ok(digits.clone()),
            Literal::Boolean(on) => Ok(if *on { "on" } else { "off" }.to_string()),
            other => Err(SqlError::new(
                SqlErrorKind::Syntax,
                format!("syntax error at or near \"{other}\""),
            )),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Ok(format!("-{}", setting_word(expr)?)),
        Expr::UnaryOp {
            op: UnaryOperator::Plus,
            expr,
        } => setting_word(expr),
        other => Err(SqlError::new(
            SqlErrorKind::Syntax,
            format!("syntax error at or near \"{other}\""),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::parse;

    fn value(sql: &str) -> (String, Option<String>) {
        match parse(sql).unwrap().pop().unwrap() {
            Statement::Set(Set::SingleAssignment { variable, values, .. }) => {
                let name = setting_name(&variable);
                let value = setting_value(&name, &values).unwrap();
                (name, value)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_of_settings_are_words_names_and_numbers() {
        assert_eq!(
            value("SET extra_float_digits = -3"),
            ("extra_float_digits".into(), Some("-3".into()))
        );
        assert_eq!(value("SET My.Thing TO 'Ä b'"), ("my.thing".into(), Some("Ä b".into())));
        assert_eq!(value("SET row_security = OFF").1, Some("off".into()));
        assert_eq!(
            value("SET search_path TO Sales, \"Odd One\"").1,
            Some("sales, \"Odd One\"".into())
        );
        assert_eq!(value("SET search_path TO DEFAULT").1, None);
        assert_eq!(value("SET timezone TO LOCAL").1, None);
        assert_eq!(value("SET timezone TO Local_Thing").1, Some("local_thing".into()));
    }

    #[test]
    fn zones_are_set_by_name_number_and_interval() {
        for (sql, expected) in [
            ("SET TIME ZONE 'Europe/Berlin'", Some("Europe/Berlin")),
            ("SET TIME ZONE PST8PDT", Some("pst8pdt")),
            ("SET TIME ZONE -7", Some("-7")),
            ("SET TIME ZONE LOCAL", None),
            ("SET LOCAL TIME ZONE DEFAULT", None),
            ("SET TIME ZONE INTERVAL '-05:30' HOUR TO MINUTE", Some("<-05:30>+05:30")),
            ("SET TIME ZONE INTERVAL '+2' HOUR", Some("<+02>-02")),
        ] {
            let Statement::Set(Set::SetTimeZone { value, .. }) = parse(sql).unwrap().pop().unwrap() else {
                panic!("{sql} sets the zone")
            };
            let value = setting_value("timezone", std::slice::from_ref(&value)).unwrap();
            assert_eq!(value.as_deref(), expected, "{sql}");
        }
        let Statement::Set(Set::SetTimeZone { value, .. }) =
            parse("SET TIME ZONE INTERVAL '1 month'").unwrap().remove(0)
        else {
            panic!("it sets the zone")
        };
        let error = setting_value("timezone", std::slice::from_ref(&value)).unwrap_err();
        assert_eq!(error.kind, SqlErrorKind::InvalidParameter);
    }
}
