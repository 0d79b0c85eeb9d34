//! What the names in a subquery may belong to before they can belong to the query around it, by the text alone.
//!
//! A query's FROM hides names of the queries around it: a column without a relation is its own where one of its relations
//! has such a column, a column of a relation where it has a relation of that name.
//!
//! Must not know: which columns a table has.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Select, SelectItem, TableAlias, TableFactor, Visit, Visitor};

use super::names::folded;

/// The names of a query and of all queries in it.
#[derive(Debug, Default)]
pub struct Scope {
    /// What columns can be qualified with.
    pub relations: BTreeSet<String>,
    /// Names that are given to outputs and to columns of relations.
    pub given: BTreeSet<String>,
    /// What FROM names.
    pub tables: Vec<ObjectName>,
    /// Whether that is nothing but tables, which all columns are therefore of.
    pub only_tables: bool,
}

impl Scope {
    pub fn of(query: &Query) -> Scope {
        let mut scope = Scope {
            only_tables: true,
            ..Scope::default()
        };
        let _ = query.visit(&mut scope);
        scope
    }

    fn give(&mut self, alias: &TableAlias) {
        self.relations.insert(folded(&alias.name));
        self.given
            .extend(alias.columns.iter().map(|column| folded(&column.name)));
    }
}

impl Visitor for Scope {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // What is named like a table may be one of these.
        self.only_tables &= query.with.is_none();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.given.insert(folded(alias));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (table, alias) = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => (Some(name), alias),
            TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
                self.relations.extend(last_name(name));
                (None, alias)
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => (None, alias),
            _ => (None, &None),
        };
        match table {
            Some(name) => {
                self.relations.extend(last_name(name));
                self.tables.push(name.clone());
            }
            // A join in parentheses has no columns of its own.
            None if matches!(factor, TableFactor::NestedJoin { alias: None, .. }) => {}
            None => self.only_tables = false,
        }
        if let Some(alias) = alias {
            self.give(alias);
        }
        ControlFlow::Continue(())
    }
}

fn last_name(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(folded)
}
