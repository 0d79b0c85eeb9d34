//! Constructs that DataFusion plans and answers otherwise than PostgreSQL: an error is better than other rows.
//!
//! Must not know: how anything is planned.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, JoinConstraint, JoinOperator, NamedWindowExpr, Query, Select, SetExpr, SetOperator,
    SetQuantifier, Statement, Visit, Visitor,
};

use crate::sql::SqlError;

/// # Errors
/// `Unsupported`, naming the construct.
pub fn what_would_be_answered_otherwise(statement: &Statement) -> Result<(), SqlError> {
    match statement.visit(&mut Refusing) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Refusing;

impl Visitor for Refusing {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        // Copies of a row are compared by whether there is any, not by how many. What stands in brackets is a query itself.
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            let SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } = body
            else {
                continue;
            };
            let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
            if all && *op != SetOperator::Union {
                return ControlFlow::Break(SqlError::unsupported(format_args!("{op} ALL")));
            }
            bodies.extend([left.as_ref(), right.as_ref()]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        for join in select.from.iter().flat_map(|from| &from.joins) {
            let keeps_right = match &join.join_operator {
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => Some(("RIGHT", on)),
                JoinOperator::FullOuter(on) => Some(("FULL", on)),
                _ => None,
            };
            // The merged column would be the left side's, which is NULL for rows of the right side alone.
            if let Some((side, on)) = keeps_right
                && matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural)
            {
                let construct = format!("{side} JOIN with USING or NATURAL");
                return ControlFlow::Break(
                    SqlError::unsupported(construct)
                        .hint("Write the condition with ON, and coalesce(a.x, b.x) for the column that both have."),
                );
            }
        }
        for window in &select.named_window {
            let inherits = match &window.1 {
                NamedWindowExpr::NamedWindow(_) => true,
                NamedWindowExpr::WindowSpec(spec) => spec.window_name.is_some(),
            };
            if inherits {
                return ControlFlow::Break(SqlError::unsupported("a named window that extends another"));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        if let Expr::Function(function) = expr
            && let FunctionArguments::Subquery(query) = &function.args
            && query.order_by.is_some()
            && matches!(query.body.as_ref(), SetExpr::SetOperation { .. })
        {
            let construct = "ORDER BY of a set operation inside ARRAY(...)";
            return ControlFlow::Break(SqlError::unsupported(construct));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    #[test]
    fn what_would_be_answered_otherwise_is_named() {
        let refused = |sql: &str| {
            let statement = parse::parse(sql).unwrap().pop().unwrap();
            what_would_be_answered_otherwise(&statement)
                .err()
                .map(|error| error.message)
        };
        for (sql, construct) in [
            (
                "SELECT * FROM a RIGHT JOIN b USING (x)",
                "RIGHT JOIN with USING or NATURAL",
            ),
            ("SELECT * FROM a NATURAL FULL JOIN b", "FULL JOIN with USING or NATURAL"),
            ("SELECT 1 EXCEPT ALL SELECT 1", "EXCEPT ALL"),
            ("SELECT 1 INTERSECT ALL SELECT 1 UNION SELECT 2", "INTERSECT ALL"),
            ("SELECT 1 UNION (SELECT 1 EXCEPT ALL SELECT 2)", "EXCEPT ALL"),
            (
                "SELECT 1 EXCEPT ALL SELECT 2 UNION SELECT 3 INTERSECT SELECT 4",
                "EXCEPT ALL",
            ),
            (
                "SELECT rank() OVER v FROM t WINDOW w AS (ORDER BY x), v AS (w)",
                "a named window that extends another",
            ),
            (
                "SELECT ARRAY(SELECT 2 UNION SELECT 1 ORDER BY 1)",
                "ORDER BY of a set operation inside ARRAY(...)",
            ),
        ] {
            assert_eq!(refused(sql), Some(format!("{construct} is not supported")), "{sql}");
        }
        for sql in [
            "SELECT * FROM a LEFT JOIN b USING (x)",
            "SELECT * FROM a FULL JOIN b ON a.x = b.x",
            "SELECT 1 UNION ALL SELECT 1 EXCEPT SELECT 2",
            "SELECT rank() OVER (w ORDER BY y) FROM t WINDOW w AS (PARTITION BY x)",
            "SELECT ARRAY(SELECT 2 ORDER BY 1)",
        ] {
            assert_eq!(refused(sql), None, "{sql}");
        }
    }
}
