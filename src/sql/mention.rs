//! Where in its text a statement mentions a name, for the position in an error: psql draws a caret below it, editors
//! underline it.
//!
//! Planning loses the places of names, so they are looked up in the statement as it was parsed, when an error needs one. A
//! name that is mentioned more than once has no place: a caret in the wrong spot is worse than none.
//!
//! Must not know: why the name is wrong.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, CopySource, Expr, Ident, ObjectName, OnConflictAction, OnInsert,
    Statement, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use super::depth::Weight;
use super::error::{Mention, SqlError};
use super::names;
use super::names::folded;
use super::parse;

/// The error with its position in the text, where the statement mentions its name just once.
pub(in crate::sql) fn placed(error: SqlError, text: &str, statement: &Statement, weight: Weight) -> SqlError {
    let Some(mention) = error.mention.as_deref() else {
        return error;
    };
    // The walk goes as deep as the statement; a caret is not worth a stack of its own.
    if error.position.is_some() || weight.require_usual().is_err() {
        return error;
    }
    let mut search = Search {
        mention,
        found: Vec::new(),
    };
    let _ = statement.visit(&mut search);
    match *search.found.as_slice() {
        [place] if place.line > 0 => error.at(parse::position(text, place)),
        _ => error,
    }
}

struct Search<'a> {
    mention: &'a Mention,
    found: Vec<Location>,
}

impl Search<'_> {
    fn found(&mut self, name: &Ident) {
        self.found.push(name.span.start);
    }

    /// A column that is named where no expression can stand.
    fn target(&mut self, column: &Ident) {
        if let Mention::Column { relation: None, name } = self.mention
            && folded(column) == *name
        {
            self.found(column);
        }
    }

    fn named_target(&mut self, column: &ObjectName) {
        if let [column] = idents(column).as_slice() {
            self.target(column);
        }
    }

    fn assignments(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            match &assignment.target {
                AssignmentTarget::ColumnName(name) => self.named_target(name),
                AssignmentTarget::Tuple(names) => names.iter().for_each(|name| self.named_target(name)),
            }
        }
    }
}

impl Visitor for Search<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Insert(insert) => {
                insert.columns.iter().for_each(|column| self.named_target(column));
                if let Some(OnInsert::OnConflict(on)) = &insert.on {
                    if let Some(ConflictTarget::Columns(columns)) = &on.conflict_target {
                        columns.iter().for_each(|column| self.target(column));
                    }
                    if let OnConflictAction::DoUpdate(update) = &on.action {
                        self.assignments(&update.assignments);
                    }
                }
            }
            Statement::Update(update) => self.assignments(&update.assignments),
            Statement::Copy {
                source: CopySource::Table { columns, .. },
                ..
            } => columns.iter().for_each(|column| self.target(column)),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let Mention::Relation(wanted) = self.mention
            && let Ok(parts) = names::parts(relation)
            && (parts.join(".") == *wanted || parts.last() == Some(wanted))
            && let Some(first) = idents(relation).first()
        {
            self.found(first);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match (self.mention, expr) {
            (Mention::Column { relation: None, name }, Expr::Identifier(ident)) if folded(ident) == *name => {
                self.found(ident);
            }
            (
                Mention::Column {
                    relation: Some(relation),
                    name,
                },
                Expr::CompoundIdentifier(parts),
            ) => {
                if let [.., table, column] = parts.as_slice()
                    && folded(table) == *relation
                    && folded(column) == *name
                {
                    self.found(&parts[0]);
                }
            }
            (Mention::Function(name), Expr::Function(call)) => {
                let idents = idents(&call.name);
                if let (Some(first), Some(last)) = (idents.first(), idents.last())
                    && folded(last).eq_ignore_ascii_case(name)
                {
                    self.found(first);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn idents(name: &ObjectName) -> Vec<&Ident> {
    name.0.iter().filter_map(|part| part.as_ident()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the error stands in the text, as the text from there on.
    fn place(text: &str, mention: Mention) -> Option<&str> {
        let (statement, weight) = parse::parse_weighed(text).unwrap().pop().unwrap();
        let error = placed(SqlError::internal("x").mention(mention), text, &statement, weight);
        let position = error.position? as usize;
        let start = text.char_indices().nth(position - 1).unwrap().0;
        Some(&text[start..])
    }

    fn column(relation: Option<&str>, name: &str) -> Mention {
        Mention::Column {
            relation: relation.map(str::to_string),
            name: name.to_string(),
        }
    }

    #[test]
    fn a_name_is_found_where_it_stands() {
        let relation = |name: &str| Mention::Relation(name.to_string());
        assert_eq!(place("SELECT 'ä',\n a FROM nope", relation("nope")), Some("nope"));
        assert_eq!(
            place("SELECT 1; DELETE FROM s.Nope", relation("s.nope")),
            Some("s.Nope")
        );
        assert_eq!(place("SELECT a, \"B\" FROM t", column(None, "B")), Some("\"B\" FROM t"));
        assert_eq!(place("SELECT t.a FROM t", column(Some("t"), "a")), Some("t.a FROM t"));
        assert_eq!(
            place("SELECT s.t.a FROM t", column(Some("t"), "a")),
            Some("s.t.a FROM t")
        );
        assert_eq!(place("SELECT 1 + F(2)", Mention::Function("f".into())), Some("F(2)"));
        assert_eq!(
            place("INSERT INTO t (a, b) VALUES (1, 2)", column(None, "b")),
            Some("b) VALUES (1, 2)")
        );
        assert_eq!(place("UPDATE t SET a = 1, b = 2", column(None, "b")), Some("b = 2"));
        assert_eq!(
            place(
                "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2",
                column(None, "a")
            ),
            Some("a) DO UPDATE SET b = 2")
        );
        assert_eq!(
            place(
                "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2",
                column(None, "b")
            ),
            Some("b = 2")
        );
    }

    #[test]
    fn a_name_that_stands_twice_or_elsewhere_has_no_place() {
        assert_eq!(place("SELECT a FROM t WHERE a = 1", column(None, "a")), None);
        assert_eq!(place("SELECT t.a FROM t", column(None, "a")), None);
        assert_eq!(place("SELECT b AS a FROM t", column(None, "a")), None);
        assert_eq!(place("SELECT a FROM t", Mention::Relation("u".into())), None);
    }
}
