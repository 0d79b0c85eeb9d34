use super::*;
use crate::sql::parse::parse_weighed;

fn weight(sql: &str) -> usize {
    let weighed = parse_weighed(sql).unwrap();
    weighed.iter().map(|(_, weight)| weight.0).max().unwrap()
}

fn is_refused(sql: &str) -> bool {
    matches!(parse_weighed(sql), Err(error) if error.kind == SqlErrorKind::TooComplex)
}

fn chain(first: &str, link: &str, links: usize) -> String {
    format!("{first}{}", link.repeat(links))
}

/// Chains of every kind that the parser reads in a loop. Without the bound the larger ones end the process.
const CHAINS: &[(&str, &str)] = &[
    ("SELECT 1", "+1"),
    ("SELECT 1", "::int"),
    ("SELECT 'a'", "||'a'"),
    ("SELECT 1", " IS NULL"),
    ("SELECT 1", " NOTNULL"),
    ("SELECT a", "[1]"),
    ("SELECT a", " AT TIME ZONE 'UTC'"),
    ("SELECT 1, 2", " UNION ALL SELECT 1, 2"),
    ("SELECT 1", " EXCEPT SELECT 1"),
    ("SELECT 1 FROM t", " CROSS JOIN t"),
    ("SELECT 1 FROM t", ", t"),
];

#[test]
fn long_chains_are_refused_whatever_makes_them() {
    for (first, link) in CHAINS {
        for links in [2_000, 110_000] {
            assert!(is_refused(&chain(first, link, links)), "{links} times {link}");
        }
    }
}

#[test]
fn a_long_chain_that_is_wrong_in_the_end_is_an_error() {
    for (first, link) in CHAINS {
        let wrong = format!("{} )", chain(first, link, 10_000));
        assert!(parse_weighed(&wrong).is_err(), "{link}");
    }
}

#[test]
fn nesting_is_refused_before_the_parser_meets_it() {
    for (open, close) in [("(", ")"), ("ARRAY[", "]"), ("abs(", ")"), ("1 + (", ")"), ("- ", "")] {
        let nested = format!("SELECT {}1{}", open.repeat(10_000), close.repeat(10_000));
        assert!(is_refused(&nested), "{open}");
    }
    // The parser tries this in several ways and tells what the last one says.
    assert!(parse_weighed(&format!("SELECT {}1", "NOT ".repeat(10_000))).is_err());
    let types = format!("SELECT 1::{}int{}", "ARRAY<".repeat(10_000), ">".repeat(10_000));
    assert!(is_refused(&types));
    let types = format!("SELECT 1::{}int{}", "Nullable(".repeat(10_000), ")".repeat(10_000));
    assert!(is_refused(&types));
}

#[test]
fn operands_that_would_be_copied_without_end_are_refused() {
    assert!(is_refused(&chain("SELECT 1", " BETWEEN 0 AND 2", 40)));
    assert!(!is_refused("SELECT 1 BETWEEN 0 AND 2 AND 3 BETWEEN 1 AND 2"));
}

#[test]
fn chains_of_and_and_or_are_balanced_in_their_order() {
    let many: Vec<String> = (0..5_000).map(|number| format!("a = {number}")).collect();
    let sql = format!("SELECT 1 FROM t WHERE {}", many.join(" OR "));
    let (statement, weight) = parse_weighed(&sql).unwrap().pop().unwrap();
    assert_eq!(statement.to_string(), sql);
    let Statement::Query(query) = statement else {
        panic!("a query")
    };
    let SetExpr::Select(select) = *query.body else {
        panic!("a select")
    };
    let mut depth = 0;
    let mut at = select.selection.as_ref().unwrap();
    while let Expr::BinaryOp {
        left,
        op: BinaryOperator::Or,
        ..
    } = at
    {
        depth += 1;
        at = left;
    }
    assert!(depth <= 13, "{depth}");
    // What the plan may line up again still has its stack.
    assert!(weight.0 > 600, "{weight:?}");
}

#[test]
fn what_people_write_weighs_little() {
    let usual = Weight(WEIGHT_USUAL);
    let rows: Vec<String> = (0..5_000)
        .map(|number| format!("({number}, 'x', {number} + 1)"))
        .collect();
    assert!(Weight(weight(&format!("INSERT INTO t VALUES {}", rows.join(", ")))) <= usual);
    let list: Vec<String> = (0..50_000).map(|number| number.to_string()).collect();
    assert!(Weight(weight(&format!("SELECT a FROM t WHERE a IN ({})", list.join(", ")))) <= usual);
    let query = "WITH x AS (SELECT a, sum(b) AS s FROM t GROUP BY a) SELECT t.a, x.s * 2 + 1 FROM t JOIN x ON t.a = x.a \
                 WHERE t.c IN (SELECT c FROM u WHERE d > 5 AND e LIKE 'f%') ORDER BY 2 DESC LIMIT 10";
    assert!(Weight(weight(query)) <= usual, "{}", weight(query));
}
