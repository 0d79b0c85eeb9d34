//! Statements as deep as they may be, in a session on a worker thread of tokio. A stack that overflows ends the process,
//! so what fails here fails without a message.

use super::*;
use crate::sql::plan::Interrupt;

/// Runs each text in a session of its own, by the simple protocol and by the extended one.
async fn on_a_worker(texts: Vec<(String, bool)>) {
    let world = World::new().await;
    let work = async move {
        let mut session = world.session();
        let made = run(
            &mut session,
            "CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 2), (3, 4)",
        )
        .await;
        assert_eq!(made.last().unwrap(), "INSERT 0 2");
        for (sql, works) in texts {
            let shown: String = sql.chars().take(60).collect();
            let result = session.simple_query(&sql, &mut Transcript::default()).await;
            match result {
                Ok(()) => assert!(works, "{shown}"),
                Err(error) => assert!(!works && error.kind == SqlErrorKind::TooComplex, "{shown}: {error:?}"),
            }
            if let Ok(prepared) = session.prepare(&sql, &[]).await {
                let mut sink = Transcript::default();
                match session.execute(&prepared, Vec::new(), &mut sink).await {
                    Ok(QueryResult::Rows { mut rows, .. }) => {
                        while let Some(batch) = rows.batches.next().await {
                            batch.unwrap();
                        }
                    }
                    Ok(_) => {}
                    Err(error) => assert!(!works, "{shown}: {error:?}"),
                }
            }
            session.sync().await.unwrap();
        }
        assert_eq!(rows(&mut session, "SELECT count(*) FROM t").await, ["2"]);
    };
    runtime::spawn("session", work).await.unwrap();
}

fn chain(first: &str, link: &str, links: usize) -> String {
    format!("{first}{}", link.repeat(links))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn expressions_as_deep_as_they_may_be_do_not_overflow_the_stack() {
    let mut texts = Vec::new();
    for (first, link, links) in [
        ("SELECT 1", "+1", 450),
        ("SELECT b", "+b", 450),
        ("SELECT 'a'", "||'b'", 300),
        ("SELECT 1", "::int", 40),
        ("SELECT b", "::text::int", 20),
    ] {
        let from = if first.ends_with('b') { " FROM t" } else { "" };
        texts.push((format!("{}{from}", chain(first, link, links)), true));
        texts.push((format!("{}{from}", chain(first, link, 3_000)), false));
    }
    texts.push((format!("UPDATE t SET b = {} WHERE a = 1", chain("1", "+1", 400)), true));
    texts.push((
        format!(
            "INSERT INTO t VALUES (1, {}) ON CONFLICT DO NOTHING",
            chain("1", "+1", 400)
        ),
        true,
    ));
    texts.push((format!("DELETE FROM t WHERE a = {}", chain("1000", "+1", 400)), true));
    texts.push((
        format!("CREATE TABLE d (a int DEFAULT {})", chain("1", "+1", 400)),
        false,
    ));
    on_a_worker(texts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn chains_of_arithmetic_give_what_their_terms_give() {
    let world = World::new().await;
    let mut session = world.session();
    run(
        &mut session,
        "CREATE TABLE t (a int, b bigint, f float8, n numeric(9,2)); INSERT INTO t VALUES (1, 2, 0.5, 1.25), (NULL, 3, 1, 2)",
    )
    .await;
    for (sql, expected) in [
        (format!("SELECT {}", chain("1", "+1", 400)), vec!["401"]),
        (format!("SELECT {} FROM t", chain("a", "+a", 400)), vec!["401", "NULL"]),
        (
            format!("SELECT {} FROM t", chain("b", "-b", 400)),
            vec!["-798", "-1197"],
        ),
        (format!("SELECT {} FROM t", chain("f", "+f", 299)), vec!["150", "300"]),
        (
            format!("SELECT {} FROM t", chain("n", "+n", 200)),
            vec!["251.25", "402.00"],
        ),
        (format!("SELECT {} FROM t", chain("a", "+b", 200)), vec!["401", "NULL"]),
        (
            "SELECT 7-2*3/2%4+1, (a+1)*10-a, 2147483647-1+1, 10/4*4 FROM t WHERE a = 1".to_string(),
            vec!["5|19|2147483647|8"],
        ),
    ] {
        assert_eq!(
            rows(&mut session, &sql).await,
            expected,
            "{}",
            &sql[..sql.len().min(80)]
        );
    }
    let overflow = run(&mut session, "SELECT 2147483647+1-1").await;
    assert!(
        overflow.last().unwrap().contains("integer out of range"),
        "{overflow:?}"
    );
}

#[tokio::test]
async fn planning_stops_wherever_it_is_when_it_is_asked_to() {
    let world = World::new().await;
    let mut session = world.session();
    run(&mut session, "CREATE TABLE t (a int PRIMARY KEY, b int)").await;
    let text = "SELECT a + 1, count(*) FROM t WHERE a < 5 AND b IN (SELECT a FROM t) GROUP BY a";
    let parsed = crate::sql::parse::parse(text).unwrap().remove(0);
    let mut stopped = 0;
    loop {
        let mut context = session.plan_context(session.glance());
        let looks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        context.interrupt = Interrupt::new(move || {
            if looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == stopped {
                return Err(SqlError::new(SqlErrorKind::Cancelled, "stop"));
            }
            Ok(())
        });
        match crate::sql::plan::query(&context, &parsed, &[], &[]).await {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind, SqlErrorKind::Cancelled, "at look {stopped}: {error:?}"),
        }
        stopped += 1;
    }
    assert!(
        stopped > 20,
        "{stopped} looks: operators and every rule of the optimiser have one"
    );
}

#[tokio::test]
async fn a_timeout_ends_a_statement_that_is_planned() {
    let world = World::new().await;
    let mut session = world.session();
    let deep = format!("SELECT {}'a'{}", "upper(lower(".repeat(20), "))".repeat(20));
    run(&mut session, "SET statement_timeout = 1").await;
    let last = run(&mut session, &deep).await.pop().unwrap();
    assert!(last.contains("canceling statement due to statement timeout"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn conditions_of_thousands_of_links_are_queries_like_any_other() {
    let ors: Vec<String> = (0..2_000).map(|number| format!("b = {number}")).collect();
    let ands: Vec<String> = (0..1_000).map(|number| format!("b <> {}", number + 10)).collect();
    let list: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    let pairs: Vec<String> = (0..1_000).map(|number| format!("({number}, {number})")).collect();
    on_a_worker(vec![
        (format!("SELECT a FROM t WHERE {}", ors.join(" OR ")), true),
        (format!("SELECT a FROM t WHERE {}", ands.join(" AND ")), true),
        (
            format!(
                "SELECT a FROM t WHERE b NOT IN (SELECT b FROM t) OR {}",
                ors.join(" OR ")
            ),
            true,
        ),
        (format!("SELECT a FROM t WHERE b IN ({})", list.join(", ")), true),
        (format!("SELECT a FROM t WHERE (a, b) IN ({})", pairs.join(", ")), true),
        (format!("DELETE FROM t WHERE b > 100 AND ({})", ors.join(" OR ")), true),
        (chain("SELECT a FROM t WHERE b = 1", " OR b = 1", 30_000), false),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_queries_and_tables_in_one_do_not_overflow_the_stack() {
    let nested = |levels: usize| {
        format!(
            "SELECT * FROM {}t{}",
            "(SELECT * FROM ".repeat(levels),
            ") AS x".repeat(levels)
        )
    };
    let common: Vec<String> = (1..100)
        .map(|number| format!("c{number} AS (SELECT * FROM c{})", number - 1))
        .collect();
    let joins: Vec<String> = (0..60)
        .map(|number| format!("CROSS JOIN (SELECT 1) AS x{number}"))
        .collect();
    on_a_worker(vec![
        (chain("SELECT 1", " UNION ALL SELECT 1", 150), true),
        (chain("SELECT 1", " UNION ALL SELECT 1", 2_000), false),
        (nested(12), true),
        (nested(40), false),
        (format!("SELECT count(*) FROM t {}", joins.join(" ")), true),
        (chain("SELECT 1 FROM t", " CROSS JOIN t", 1_000), false),
        (
            format!("WITH c0 AS (SELECT * FROM t), {} SELECT * FROM c99", common.join(", ")),
            true,
        ),
    ])
    .await;
}
