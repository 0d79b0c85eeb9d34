//! SHOW: settings as rows of text.

use datafusion::sql::sqlparser::ast::Ident;

use super::Session;
use crate::sql::error::SqlError;
use crate::sql::names::folded;
use crate::sql::result::{CommandTag, FieldInfo, PgType, QueryResult, RowStream};
use crate::sql::settings::Settings;
use crate::version::Value;

/// The columns of `SHOW words`.
pub(super) fn fields(words: &[Ident]) -> Vec<FieldInfo> {
    let name = name_of(words);
    if name == "all" {
        return ["name", "setting", "description"]
            .map(|name| FieldInfo::new(name, PgType::TEXT))
            .to_vec();
    }
    vec![FieldInfo::new(Settings::label(&name), PgType::TEXT)]
}

/// `SHOW TIME ZONE` and `SHOW TRANSACTION ISOLATION LEVEL` have spaces where the settings' names have none.
fn name_of(words: &[Ident]) -> String {
    let words: Vec<String> = words.iter().map(folded).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["time", "zone"] => "timezone".to_string(),
        ["transaction", "isolation", "level"] => "transaction_isolation".to_string(),
        ["session", "authorization"] => "session_authorization".to_string(),
        parts => parts.join("."),
    }
}

impl Session {
    pub(super) fn show(&self, words: &[Ident]) -> Result<QueryResult, SqlError> {
        let name = name_of(words);
        let text = |text: String| Value::Text(text);
        let rows = if name == "all" {
            let all = self.settings.all();
            all.into_iter()
                .map(|row| vec![text(row.name), text(row.setting), text(row.description)])
                .collect()
        } else {
            vec![vec![text(self.settings.show(&name)?)]]
        };
        let rows = RowStream::of_values(fields(words), rows);
        Ok(QueryResult::Rows {
            rows,
            tag: CommandTag::Plain("SHOW"),
        })
    }
}
