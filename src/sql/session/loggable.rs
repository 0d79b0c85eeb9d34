//! What of a statement's text may be written to a log.

use std::borrow::Cow;

use datafusion::sql::sqlparser::ast::Statement;

use super::Prepared;
use super::dispatch::statement_name;

/// The text, or only what each statement is called when one of them may hold a password. Only for texts that parsed: of
/// others nobody knows what they hold.
pub(super) fn loggable<'a, 'b>(text: &'a str, statements: impl Iterator<Item = &'b Statement> + Clone) -> Cow<'a, str> {
    if !statements.clone().any(may_hold_a_password) {
        return Cow::Borrowed(text);
    }
    let names: Vec<String> = statements.map(statement_name).collect();
    Cow::Owned(names.join("; "))
}

fn may_hold_a_password(statement: &Statement) -> bool {
    let mut statement = statement;
    loop {
        statement = match statement {
            Statement::Prepare { statement, .. } | Statement::Explain { statement, .. } => statement,
            Statement::CreateRole(_) | Statement::AlterRole { .. } | Statement::CreateUser(_) => return true,
            other => return matches!(other, Statement::AlterUser(_)),
        };
    }
}

impl Prepared {
    /// What of the text that this was prepared from may be written to a log.
    pub fn loggable<'a>(&self, text: &'a str) -> Cow<'a, str> {
        loggable(text, self.statement.as_deref().into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::parse;

    fn of(text: &str) -> String {
        loggable(text, parse(text).unwrap().iter()).into_owned()
    }

    #[test]
    fn passwords_are_not_loggable() {
        for text in [
            "ALTER ROLE ann PASSWORD 'hunter2'",
            "CREATE USER ann WITH PASSWORD 'hunter2'",
            "SELECT 1; CREATE ROLE ann LOGIN PASSWORD 'hunter2'",
            "alter user ann password 'hunter2'",
        ] {
            let logged = of(text);
            assert!(!logged.contains("hunter2") && logged.contains("ROLE"), "{logged}");
        }
        assert_eq!(of("ALTER ROLE ann PASSWORD 'x'; SELECT 1"), "ALTER ROLE; SELECT");
        assert_eq!(of("SELECT 'a'"), "SELECT 'a'");
    }
}
