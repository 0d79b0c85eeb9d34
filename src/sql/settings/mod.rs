//! Every setting a session knows, in one table: SET, SHOW, RESET, `current_setting()` and ParameterStatus read it.
//!
//! A setting has a place where its value comes from: the session (changeable), the server (fixed while it runs), or the
//! cluster (live: sessions opened before a role change see the new role). Values are kept as the text SHOW gives, after
//! checking. What SET LOCAL changes ends with the transaction, what SET changes is undone when its transaction fails:
//! the session takes [`Settings::mark`]s for that.

mod accepted;
mod table;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{SqlError, SqlErrorKind};
use super::session::ServerSettings;
use super::text::Style;
use super::text::zone::Zone;
use crate::engine::Engine;
use table::{DEFINITIONS, Definition, ISOLATION_LEVELS, Kind, Live, definition, definitions};
pub use values::{boolean, split_list};
use values::{date_style, kilobytes, milliseconds, show_kilobytes, show_milliseconds};

/// The version of PostgreSQL whose behaviour is followed, as `SHOW server_version` words it.
pub const SERVER_VERSION: &str = concat!("15.8 (Understudy ", env!("CARGO_PKG_VERSION"), ")");
/// The same as `server_version_num`.
pub const SERVER_VERSION_NUM: &str = "150008";

/// One line of SHOW ALL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingRow {
    pub name: String,
    pub setting: String,
    pub description: String,
}

/// A session's settings. A clone is a picture of them that goes on answering with live values.
#[derive(Clone)]
pub struct Settings {
    engine: Engine,
    server: Arc<ServerSettings>,
    user: String,
    superuser: bool,
    /// What RESET goes back to where it is not the table's default: what the client said at start-up.
    at_start: BTreeMap<String, String>,
    /// By SET, by lower-case name.
    session: BTreeMap<String, String>,
    /// By SET LOCAL; hides `session` until the transaction ends.
    local: BTreeMap<String, String>,
    /// How often anything was set, reset or taken back.
    changes: u64,
    /// `search_path` as it is now, taken apart: every statement that names a table asks for it.
    search_path: Arc<[String]>,
}

/// What a failed transaction or savepoint goes back to.
#[derive(Clone)]
pub struct SettingsMark {
    session: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
}

impl Settings {
    pub fn new(engine: Engine, server: Arc<ServerSettings>, user: String, superuser: bool) -> Settings {
        let mut settings = Settings {
            engine,
            server,
            user,
            superuser,
            at_start: BTreeMap::new(),
            session: BTreeMap::new(),
            local: BTreeMap::new(),
            changes: 0,
            search_path: Arc::default(),
        };
        settings.changed();
        settings
    }

    /// Something was set, reset or taken back.
    fn changed(&mut self) {
        self.changes += 1;
        let schemas = split_list(&self.find_text("search_path"));
        self.search_path = schemas
            .into_iter()
            .map(|schema| if schema == "$user" { self.user.clone() } else { schema })
            .collect();
    }

    /// Takes a value from the start-up message, which RESET will restore.
    pub fn set_at_start(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let checked = checked_value(name, value, self.engine.cluster().is_some())?;
        self.at_start.insert(name.to_ascii_lowercase(), checked);
        self.changed();
        Ok(())
    }

    /// SET (`local` false) or SET LOCAL.
    pub fn set(&mut self, name: &str, value: &str, local: bool) -> Result<(), SqlError> {
        let checked = checked_value(name, value, self.engine.cluster().is_some())?;
        let key = name.to_ascii_lowercase();
        if local {
            self.local.insert(key, checked);
        } else {
            self.local.remove(&key);
            self.session.insert(key, checked);
        }
        self.changed();
        Ok(())
    }

    /// RESET, and SET ... TO DEFAULT.
    pub fn reset(&mut self, name: &str, local: bool) -> Result<(), SqlError> {
        known(name, self.engine.cluster().is_some())?;
        let key = name.to_ascii_lowercase();
        if let Some(definition) = definition(&key) {
            refuse_fixed(definition)?;
        }
        if local {
            let value = self.default_of(&key);
            self.local.insert(key, value);
        } else {
            self.local.remove(&key);
            self.session.remove(&key);
        }
        self.changed();
        Ok(())
    }

    /// RESET ALL.
    pub fn reset_all(&mut self) {
        self.session.clear();
        self.local.clear();
        self.changed();
    }

    /// The value as SHOW gives it. 42704 for a name nobody defined.
    pub fn show(&self, name: &str) -> Result<String, SqlError> {
        self.find(name)?.ok_or_else(|| unknown(name))
    }

    /// As [`Settings::show`], None for a name nobody defined (`current_setting(name, true)`).
    pub fn find(&self, name: &str) -> Result<Option<String>, SqlError> {
        let key = name.to_ascii_lowercase();
        if let Some(definition) = definition(&key) {
            match definition.kind {
                Kind::Live(live) => return Ok(Some(self.live(live))),
                Kind::Cluster(live) => return Ok(self.engine.cluster().is_some().then(|| self.live(live))),
                Kind::Bool(_) if key == "transaction_read_only" && self.engine.is_standing_by() => {
                    return Ok(Some("on".to_string()));
                }
                _ => {}
            }
            return Ok(Some(self.value(&key).unwrap_or_else(|| self.default_as(definition))));
        }
        Ok(self.value(&key))
    }

    /// Canonical spelling of a setting's name: what SHOW labels its column.
    pub fn label(name: &str) -> String {
        let key = name.to_ascii_lowercase();
        match definition(&key) {
            Some(definition) => definition.name.to_string(),
            None => key,
        }
    }

    /// SHOW ALL and `pg_settings`, by name.
    pub fn all(&self) -> Vec<SettingRow> {
        let mut rows: Vec<SettingRow> = definitions()
            .filter_map(|definition| {
                let setting = self.find(definition.name).ok().flatten()?;
                Some(SettingRow {
                    name: definition.name.to_string(),
                    setting,
                    description: definition.description.to_string(),
                })
            })
            .collect();
        rows.sort_by_cached_key(|row| row.name.to_ascii_lowercase());
        rows
    }

    /// Something else whenever what [`reported`](Self::reported) gives may be something else.
    pub fn reported_version(&self) -> (u64, bool) {
        (self.changes, self.engine.is_standing_by())
    }

    /// What the client is told at start-up and on change: name and value of every reported setting.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        DEFINITIONS
            .iter()
            .filter(|definition| definition.reported)
            .filter_map(|definition| Some((definition.name, self.find(definition.name).ok().flatten()?)))
            .collect()
    }

    /// Whether the setting, as a boolean, is on.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.find(name), Ok(Some(value)) if value == "on" || value == "1")
    }

    /// `statement_timeout`; None when off.
    pub fn statement_timeout(&self) -> Option<std::time::Duration> {
        let text = self.find("statement_timeout").ok().flatten()?;
        let millis = milliseconds(&text).ok()?;
        (millis > 0).then(|| std::time::Duration::from_millis(millis.unsigned_abs()))
    }

    /// The schemas of `search_path`, `"$user"` replaced; `pg_catalog` is always looked through first and not listed.
    pub fn search_path(&self) -> &[String] {
        &self.search_path
    }

    /// The session's time zone.
    pub fn time_zone(&self) -> Zone {
        match self.value("timezone") {
            None => Zone::UTC,
            Some(name) => Zone::named(&name).map_or(Zone::UTC, |(_, zone)| zone),
        }
    }

    /// How values are printed and read.
    pub fn style(&self) -> Style {
        let hex = self
            .find("bytea_output")
            .ok()
            .flatten()
            .is_none_or(|output| output == "hex");
        Style {
            zone: self.time_zone(),
            bytea_hex: hex,
        }
    }

    /// What to come back to if the transaction fails.
    pub fn mark(&self) -> SettingsMark {
        SettingsMark {
            session: self.session.clone(),
            local: self.local.clone(),
        }
    }

    /// The transaction (or savepoint) failed: its SETs never happened.
    pub fn restore(&mut self, mark: SettingsMark) {
        self.session = mark.session;
        self.local = mark.local;
        self.changed();
    }

    /// The transaction is over: SET LOCAL ends.
    pub fn end_transaction(&mut self) {
        if !self.local.is_empty() {
            self.local.clear();
            self.changed();
        }
        for name in [
            "transaction_isolation",
            "transaction_read_only",
            "transaction_deferrable",
        ] {
            self.session.remove(name);
        }
    }

    fn value(&self, key: &str) -> Option<String> {
        self.local
            .get(key)
            .or_else(|| self.session.get(key))
            .or_else(|| self.at_start.get(key))
            .cloned()
    }

    fn default_of(&self, key: &str) -> String {
        match definition(key) {
            Some(definition) => self.default_as(definition),
            None => self.at_start.get(key).cloned().unwrap_or_default(),
        }
    }

    /// What the client said at start-up, or what the table says.
    fn default_as(&self, definition: &Definition) -> String {
        if let Some(value) = self.at_start.get(definition.key) {
            return value.clone();
        }
        // The transaction's own settings start from the session's defaults for transactions.
        match definition.key {
            "transaction_isolation" => return self.find_text("default_transaction_isolation"),
            "transaction_read_only" => return self.find_text("default_transaction_read_only"),
            _ => {}
        }
        match definition.kind {
            Kind::Bool(value)
            | Kind::Word(value, _)
            | Kind::Text(value)
            | Kind::Fixed(value)
            | Kind::Milliseconds(value) => value.to_string(),
            Kind::Memory(value, _, _, _) => value.to_string(),
            Kind::Integer(value, _, _) => value.to_string(),
            Kind::Real(value, _, _) => value.to_string(),
            Kind::Encoding => "UTF8".to_string(),
            Kind::DateStyle => "ISO, MDY".to_string(),
            Kind::TimeZone => "UTC".to_string(),
            Kind::Isolation => "repeatable read".to_string(),
            Kind::Live(live) | Kind::Cluster(live) => self.live(live),
        }
    }

    fn find_text(&self, name: &str) -> String {
        self.find(name).ok().flatten().unwrap_or_default()
    }

    fn live(&self, live: Live) -> String {
        let on_off = |on: bool| if on { "on" } else { "off" }.to_string();
        match live {
            Live::Role => self
                .engine
                .cluster()
                .map_or_else(String::new, |cluster| cluster.role().to_string()),
            Live::Epoch => self
                .engine
                .cluster()
                .map_or_else(String::new, |cluster| cluster.epoch().to_string()),
            Live::InHotStandby => on_off(self.engine.is_standing_by()),
            Live::ReadOnly => if self.engine.gate().reason().is_some() {
                "1"
            } else {
                "0"
            }
            .to_string(),
            Live::IsSuperuser => on_off(self.superuser),
            Live::SessionAuthorization => self.user.clone(),
            Live::Port => self.server.port.to_string(),
            Live::ListenAddresses => self.server.host.clone(),
            Live::DataDirectory => self.server.data_directory.clone(),
            Live::MaxConnections => self.server.max_connections.to_string(),
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("user", &self.user)
            .field("at_start", &self.at_start)
            .field("session", &self.session)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// The value as a session will show it once it is set; whether the server is one of a cluster decides which names there
/// are. Asks for no session, nor for an engine: a configuration can be judged before there is either.
///
/// # Errors
/// 42704 for a name nobody defined, 22023 for a value that it cannot have, 55P02 where it cannot be set.
pub fn checked_value(name: &str, value: &str, in_cluster: bool) -> Result<String, SqlError> {
    known(name, in_cluster)?;
    check(name, value)
}

/// 42704 unless the name is in the table, or dotted: anybody's own.
fn known(name: &str, in_cluster: bool) -> Result<(), SqlError> {
    let key = name.to_ascii_lowercase();
    match definition(&key) {
        Some(definition) if matches!(definition.kind, Kind::Cluster(_)) && !in_cluster => Err(unknown(name)),
        Some(_) => Ok(()),
        None if is_custom(&key) => Ok(()),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::UndefinedObject,
        format!("unrecognized configuration parameter \"{name}\""),
    )
}

/// `my.setting`: at least two non-empty parts of identifier characters.
fn is_custom(key: &str) -> bool {
    let mut parts = 0;
    for part in key.split('.') {
        let mut characters = part.chars();
        if !characters
            .next()
            .is_some_and(|first| first.is_alphabetic() || first == '_')
        {
            return false;
        }
        if !characters.all(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            return false;
        }
        parts += 1;
    }
    parts >= 2
}

fn refuse_fixed(definition: &Definition) -> Result<(), SqlError> {
    match definition.kind {
        Kind::Live(_) | Kind::Cluster(_) | Kind::Fixed(_) => Err(SqlError::new(
            SqlErrorKind::CannotChangeSetting,
            format!(
                "parameter \"{}\" cannot be changed: it is a read only variable",
                definition.name
            ),
        )),
        _ => Ok(()),
    }
}

fn invalid(name: &str, value: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::InvalidParameter,
        format!("invalid value for parameter \"{name}\": \"{value}\""),
    )
}

/// The value as it will be shown, or why it may not be.
fn check(name: &str, value: &str) -> Result<String, SqlError> {
    let Some(definition) = definition(&name.to_ascii_lowercase()) else {
        return Ok(value.to_string());
    };
    refuse_fixed(definition)?;
    let name = definition.name;
    match definition.kind {
        Kind::Bool(_) => match boolean(value) {
            Some(on) => Ok(if on { "on" } else { "off" }.to_string()),
            None => Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                format!("parameter \"{name}\" requires a Boolean value"),
            )),
        },
        Kind::Integer(_, least, greatest) => {
            let number: i64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            if number < least || number > greatest {
                return Err(SqlError::new(
                    SqlErrorKind::InvalidParameter,
                    format!("{number} is outside the valid range for parameter \"{name}\" ({least} .. {greatest})"),
                ));
            }
            Ok(number.to_string())
        }
        Kind::Real(_, least, greatest) => {
            let number: f64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            if !(least..=greatest).contains(&number) {
                return Err(SqlError::new(
                    SqlErrorKind::InvalidParameter,
                    format!("{number} is outside the valid range for parameter \"{name}\" ({least} .. {greatest:e})"),
                ));
            }
            Ok(number.to_string())
        }
        Kind::Memory(_, block, least, greatest) => {
            let number = kilobytes(value, block).ok_or_else(|| {
                invalid(name, value)
                    .hint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
            })?;
            if !(least..=greatest).contains(&number) {
                let unit = if block == 1 { "kB" } else { "8kB" };
                return Err(SqlError::new(
                    SqlErrorKind::InvalidParameter,
                    format!(
                        "{number} {unit} is outside the valid range for parameter \"{name}\" ({least} .. {greatest})"
                    ),
                ));
            }
            Ok(show_kilobytes(number * block))
        }
        Kind::Milliseconds(_) => {
            let millis = milliseconds(value).map_err(|()| {
                invalid(name, value)
                    .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            })?;
            if !(0..=i64::from(i32::MAX)).contains(&millis) {
                return Err(SqlError::new(
                    SqlErrorKind::InvalidParameter,
                    format!("{millis} ms is outside the valid range for parameter \"{name}\" (0 .. 2147483647)"),
                ));
            }
            Ok(show_milliseconds(millis))
        }
        Kind::Word(_, words) => {
            let wanted = value.trim().to_ascii_lowercase();
            let wanted = match (boolean(&wanted), words.contains(&"on")) {
                (Some(true), true) => "on".to_string(),
                (Some(false), true) => "off".to_string(),
                _ => wanted,
            };
            if words.contains(&wanted.as_str()) {
                Ok(wanted)
            } else {
                Err(invalid(name, value).hint(format!("Available values: {}.", words.join(", "))))
            }
        }
        Kind::Text(_) => Ok(value.to_string()),
        Kind::Encoding => {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            match plain.to_ascii_uppercase().as_str() {
                "UTF8" | "UNICODE" => Ok("UTF8".to_string()),
                // Plain ASCII is a part of UTF-8, and libpq falls back to it in the C locale.
                "SQLASCII" => Ok("SQL_ASCII".to_string()),
                _ => Err(invalid(name, value).hint("This server speaks UTF8 only: set the client's encoding to UTF8.")),
            }
        }
        Kind::DateStyle => date_style(value).ok_or_else(|| {
            invalid(name, value).hint("Dates are always shown in ISO style; the order may be MDY, DMY or YMD.")
        }),
        Kind::TimeZone => Zone::of_setting(value)
            .map(|(spelled, _)| spelled)
            .ok_or_else(|| invalid(name, value)),
        Kind::Isolation => {
            let wanted = value.trim().to_ascii_lowercase();
            if ISOLATION_LEVELS.contains(&wanted.as_str()) {
                Ok(wanted)
            } else {
                Err(invalid(name, value).hint(format!("Available values: {}.", ISOLATION_LEVELS.join(", "))))
            }
        }
        Kind::Fixed(_) | Kind::Live(_) | Kind::Cluster(_) => Err(SqlError::internal("a fixed setting was let through")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row out of order would never be found.
    #[test]
    fn the_table_is_sorted_by_lower_case_name() {
        for table in [DEFINITIONS, accepted::ACCEPTED] {
            assert!(table.is_sorted_by(|one, next| one.key < next.key));
        }
        for definition in definitions() {
            assert_eq!(definition.key, definition.name.to_ascii_lowercase());
        }
        for key in accepted::ACCEPTED.iter().map(|d| d.key) {
            assert!(DEFINITIONS.iter().all(|d| d.key != key), "{key} is there twice");
        }
    }

    #[test]
    fn the_longest_name_is_told_as_it_is() {
        let setting = definitions().find(|definition| definition.name == "max_identifier_length");
        let Some(Kind::Fixed(told)) = setting.map(|definition| definition.kind) else {
            panic!("it is fixed");
        };
        assert_eq!(told, crate::engine::NAME_BYTES_MAX.to_string());
    }

    /// A default that SET would refuse could never be restored by hand.
    #[test]
    fn every_default_passes_its_own_check() {
        for definition in definitions() {
            let default = match definition.kind {
                Kind::Bool(value) | Kind::Word(value, _) | Kind::Text(value) | Kind::Milliseconds(value) => {
                    value.to_string()
                }
                Kind::Memory(value, _, _, _) => value.to_string(),
                Kind::Integer(value, _, _) => value.to_string(),
                Kind::Real(value, _, _) => value.to_string(),
                Kind::Encoding => "UTF8".to_string(),
                Kind::DateStyle => "ISO, MDY".to_string(),
                Kind::TimeZone => "UTC".to_string(),
                Kind::Isolation => "repeatable read".to_string(),
                Kind::Fixed(_) | Kind::Live(_) | Kind::Cluster(_) => continue,
            };
            assert_eq!(
                check(definition.name, &default).as_deref(),
                Ok(default.as_str()),
                "{}",
                definition.name
            );
        }
    }

    #[test]
    fn values_are_shown_the_way_postgres_words_them() {
        assert_eq!(check("statement_timeout", "1500").unwrap(), "1500ms");
        assert_eq!(check("statement_timeout", "2min").unwrap(), "2min");
        assert_eq!(
            check("datestyle", "german").unwrap_err().kind,
            SqlErrorKind::InvalidParameter
        );
        assert_eq!(check("DateStyle", "iso, dmy").unwrap(), "ISO, DMY");
        assert_eq!(check("row_security", "YES").unwrap(), "on");
        assert_eq!(
            check("extra_float_digits", "4").unwrap_err().kind,
            SqlErrorKind::InvalidParameter
        );
        assert_eq!(
            check("server_version", "9").unwrap_err().kind,
            SqlErrorKind::CannotChangeSetting
        );
        assert_eq!(check("work_mem", "65536").unwrap(), "64MB");
        assert_eq!(check("work_mem", "1.5GB").unwrap(), "1536MB");
        assert_eq!(check("temp_buffers", "1000").unwrap(), "8000kB");
        assert_eq!(check("random_page_cost", "1.10").unwrap(), "1.1");
        assert_eq!(check("enable_seqscan", "0").unwrap(), "off");
        for (name, value, words) in [
            (
                "work_mem",
                "32",
                "32 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)",
            ),
            ("work_mem", "many", "invalid value for parameter \"work_mem\": \"many\""),
            ("jit", "perhaps", "parameter \"jit\" requires a Boolean value"),
            (
                "random_page_cost",
                "cheap",
                "invalid value for parameter \"random_page_cost\": \"cheap\"",
            ),
        ] {
            let error = check(name, value).unwrap_err();
            assert_eq!(
                (error.kind, error.message.as_str()),
                (SqlErrorKind::InvalidParameter, words)
            );
        }
        assert_eq!(check("client_encoding", "'utf-8'").unwrap(), "UTF8");
        assert_eq!(check("TimeZone", "europe/BERLIN").unwrap(), "Europe/Berlin");
        assert_eq!(check("TimeZone", "-3.5").unwrap(), "<-03:30>+03:30");
        let error = check("timezone", "Mars/Olympus").unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (
                SqlErrorKind::InvalidParameter,
                "invalid value for parameter \"TimeZone\": \"Mars/Olympus\""
            )
        );
    }

    #[test]
    fn lists_of_names_follow_identifier_rules() {
        assert_eq!(
            split_list("\"$user\", Public,\"a \"\"b\""),
            ["$user", "public", "a \"b"]
        );
        assert_eq!(split_list(" , "), Vec::<String>::new());
    }
}
