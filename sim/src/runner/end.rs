//! The end of a run: faults are over; does it write again, are the roots equal, does every workload get on, what does
//! everybody hold.
//!
//! Before the last question all servers lose power at once and start again: what they hold then is what was on their disks,
//! not what their kernels had in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use understudy::runtime;
use understudy::server::check_data_folder;

use super::{Stage, faults, mending};
use crate::check::CheckUse;
use crate::check::ends::FSCK;
use crate::history::{CALM_AFTER, Content, FinalState, Invoke, Level, NOT_STARTED, Operation, Outcome, What};
use crate::scenario::cluster::Role;
use crate::units::{Micros, micros_of};
use crate::workload::append::parse_list;
use crate::workload::client::Client;
use crate::workload::session::{Failure, Session, rows_or_no_table};
use crate::workload::{Target, WorkloadSpec, strangers};

/// How long the cluster is watched for recovery; checks may demand less.
const WATCH: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);
/// A workload that had got something done gets it done again within this.
const GETS_ON: Duration = Duration::from_secs(20);
/// Who vanished without a word keeps a session until the server has found that out: two minutes later, or, when an answer
/// was on its way, when that was sent for the last time.
const MISSED_WITHIN: Duration = Duration::from_secs(1_200);
/// Its client comes after all others.
const LAST_CLIENT: u32 = 999;
/// And works in this rhythm, until so much was acknowledged.
const LAST_PAUSE: Micros = 50_000;
const LAST_OPERATIONS: usize = 3;
/// And then once more, when its session was idle for so long.
const IDLE: Duration = Duration::from_secs(6);

pub async fn settle(stage: &Stage) -> FinalState {
    let quiet_at = match quiet_at(stage) {
        Some(at) => at,
        None => {
            faults::quiet(stage);
            micros_of(stage.world.elapsed())
        }
    };
    // While clients write, roots are not equal for long.
    let asked_at = micros_of(stage.world.elapsed()).max(quiet_at);
    let writes_again = runtime::timeout(WATCH, write_again(stage)).await;
    let writes_again_after = writes_again.ok().map(|()| {
        let by_clients = first_write_after(stage, quiet_at);
        by_clients.unwrap_or_else(|| since(stage, quiet_at))
    });
    let equal = runtime::timeout(WATCH, roots_equal(stage)).await;
    let mut end = FinalState {
        writes_again_after,
        equal_after: equal.ok().map(|()| since(stage, asked_at)),
        ..FinalState::default()
    };
    wait_for_calm(stage).await;
    end.stuck = stuck(stage).await;
    for server in &stage.plan.servers {
        end.connections
            .insert(server.name.clone(), stage.world.connections(&server.name));
    }
    end.sessions = sessions_left(stage).await;
    if !stage
        .plan
        .servers
        .iter()
        .any(|server| mending::is_damaged(stage, &server.name))
    {
        lose_power(stage, &mut end).await;
    }
    end.roots = stage.servers.roots();
    end.primary = primary(stage);
    for (server, _) in &stage.directory.servers {
        if !stage.servers.is_ready(server) {
            end.not_started.insert(server.clone(), last_words(stage, server));
            continue;
        }
        match read_content(stage, server).await {
            Ok(content) => {
                end.content.insert(server.clone(), content);
            }
            Err(failure) => {
                let fields = failure.to_string();
                end.unreadable.insert(server.clone(), fields.clone());
                let message = "what the server holds at the end could not be read".to_owned();
                let level = Level::Error;
                stage.recorder.record(server, What::Log { level, message, fields });
            }
        }
    }
    let asks = |check: &CheckUse| check.name == FSCK.name;
    if stage.plan.finally.iter().any(asks) {
        end.fsck = stage
            .plan
            .servers
            .iter()
            .map(|server| (server.name.clone(), fsck(stage, &server.name)))
            .collect();
    }
    for server in &stage.plan.servers {
        let digest = stage.world.disk(&server.name).digest();
        stage.recorder.detail(&server.name, "disk", digest);
    }
    end
}

/// The workloads that get nothing done. Those on standbys, of which there may be none, need only do what they did before;
/// nothing is owed to strangers. Each has one client, whose session lies idle for a while and must still be there then.
async fn stuck(stage: &Stage) -> Vec<String> {
    let mut clients = Vec::new();
    for workload in &stage.plan.workload {
        let spec = &workload.spec;
        let got_on = || acknowledged(stage, |invoke, _| invoke.workload == spec.name) > 0;
        let is_owed = match spec.on {
            Target::Standby => got_on(),
            _ => !asks_a_standby(stage, spec) && spec.kind != strangers::KIND.name,
        };
        if !is_owed {
            continue;
        }
        let name = format!("{}.last", spec.name);
        let (directory, seed) = (Arc::clone(&stage.directory), stage.plan.seed);
        let client = Client::new(LAST_CLIENT, name.clone(), spec.clone(), directory, seed, 0).in_every_turn();
        clients.push(async move {
            let done = |count| acknowledged(stage, |_, client| client == name) >= count;
            let mut made = spec.make();
            let works = async {
                let most = LAST_OPERATIONS;
                let client = client.work(made.as_mut(), LAST_PAUSE, || done(most)).await;
                runtime::sleep(IDLE).await;
                client.run(made.as_mut(), LAST_PAUSE, || done(most + 1)).await;
            };
            let is_stuck = runtime::timeout(GETS_ON, works).await.is_err() && !lacks_its_tables(stage, &name);
            is_stuck.then(|| spec.name.clone())
        });
    }
    let stuck = futures::future::join_all(clients).await;
    stuck.into_iter().flatten().collect()
}

/// From then on what clients are told is judged for time, too.
async fn wait_for_calm(stage: &Stage) {
    let disturbed_at = stage.recorder.look(|history| {
        let mut newest_first = history.events.iter().rev();
        newest_first.find(|event| event.what.disturbs()).map(|event| event.at)
    });
    let calm = disturbed_at.unwrap_or(0) + CALM_AFTER;
    let wait = calm.saturating_sub(micros_of(stage.world.elapsed()));
    runtime::sleep(Duration::from_micros(wait)).await;
}

/// What sessions there are when every client has had time to be missed.
async fn sessions_left(stage: &Stage) -> BTreeMap<String, usize> {
    let none_is_left = async {
        while stage.servers.sessions().values().any(|count| *count > 0) {
            runtime::sleep(LOOK).await;
        }
    };
    // What is left after that is told.
    let _ = runtime::timeout(MISSED_WITHIN, none_is_left).await;
    stage.servers.sessions()
}

/// Whether a client was told nothing but that, and they may have been given up with the primary that had them.
fn lacks_its_tables(stage: &Stage, client: &str) -> bool {
    const UNDEFINED_TABLE: &str = "42P01";
    stage.recorder.look(|history| {
        let operations = history.operations();
        let mut outcomes = operations
            .iter()
            .filter(|operation| operation.client == client)
            .filter_map(|operation| operation.returned)
            .peekable();
        let is_that =
            |outcome: &Outcome| matches!(outcome, Outcome::Failed { sqlstate } if sqlstate == UNDEFINED_TABLE);
        history.has_orders() && outcomes.peek().is_some() && outcomes.all(|(_, outcome)| is_that(outcome))
    })
}

/// Whether the one server that a workload asks is not primary: what it wants may be refused.
fn asks_a_standby(stage: &Stage, spec: &WorkloadSpec) -> bool {
    match &spec.on {
        Target::Server(name) => matches!(stage.servers.role(name), Some((role, _)) if role != Role::Primary),
        _ => false,
    }
}

/// How many operations of some kind were acknowledged.
fn acknowledged(stage: &Stage, of: impl Fn(&Invoke, &str) -> bool) -> usize {
    stage.recorder.look(|history| {
        let mut asked = BTreeSet::new();
        let mut count = 0;
        for event in &history.events {
            match &event.what {
                What::Invoke(invoke) if of(invoke, &event.node) => drop(asked.insert(invoke.op)),
                What::Return {
                    op,
                    outcome: Outcome::Ok { .. },
                } => count += usize::from(asked.contains(op)),
                _ => {}
            }
        }
        count
    })
}

/// All servers lose power at once, and must take writes and be equal again as soon as after quiet.
async fn lose_power(stage: &Stage, end: &mut FinalState) {
    for server in &stage.plan.servers {
        faults::power_off(stage, &server.name);
    }
    for server in &stage.plan.servers {
        stage.world.restart(&server.name);
    }
    let started_at = micros_of(stage.world.elapsed());
    let writes_again = runtime::timeout(WATCH, write_again(stage)).await;
    let writes_after = writes_again.ok().map(|()| since(stage, started_at));
    let equal = runtime::timeout(WATCH, roots_equal(stage)).await;
    end.began_again(writes_after, equal.ok().map(|()| since(stage, started_at)));
}

/// What a server that does not run said when it did not start; nothing if it was never heard of that.
fn last_words(stage: &Stage, server: &str) -> String {
    stage.recorder.look(|history| {
        let said = history.events.iter().rev().find_map(|event| match &event.what {
            What::Log { message, fields, .. } if event.node == server && message == NOT_STARTED => Some(fields.clone()),
            _ => None,
        });
        said.unwrap_or_default()
    })
}

/// Kills a server and reads every byte of its disk. Damage that was injected and not mended is no news.
fn fsck(stage: &Stage, server: &str) -> Vec<String> {
    let disk = stage.world.disk(server);
    stage.servers.forget(server);
    stage.world.kill(server);
    if mending::is_damaged(stage, server) {
        return Vec::new();
    }
    match check_data_folder(&disk.disk(), &mut |_, _, _| {}) {
        Ok(check) => {
            let broken = check.stores.iter().filter(|store| !store.is_sound());
            let told = broken.map(|store| {
                format!(
                    "{}: damage {:?}, missing {:?}",
                    store.path, store.files.damage, store.missing
                )
            });
            let problems = check
                .problems
                .iter()
                .map(|problem| format!("{}: {}", problem.place, problem.detail));
            told.chain(problems).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

/// When quiet was last declared, if the plan did so.
fn quiet_at(stage: &Stage) -> Option<Micros> {
    stage.recorder.look(|history| {
        history
            .events
            .iter()
            .rev()
            .find(|event| matches!(event.what, What::Quiet))
            .map(|event| event.at)
    })
}

/// How long after quiet the first write was acknowledged that a client asked for since.
fn first_write_after(stage: &Stage, quiet_at: Micros) -> Option<Micros> {
    stage.recorder.look(|history| {
        let mut operations = history.operations();
        operations.retain(|operation| operation.invoked_at >= quiet_at && !operation.invoke.only_reads);
        let acknowledged = operations.iter().filter_map(Operation::acknowledged_at);
        acknowledged.min().map(|at| at - quiet_at)
    })
}

fn since(stage: &Stage, quiet_at: Micros) -> Micros {
    micros_of(stage.world.elapsed()).saturating_sub(quiet_at)
}

/// The primary of the highest epoch; without a cluster, the one server.
fn primary(stage: &Stage) -> Option<String> {
    let servers = stage
        .plan
        .servers
        .iter()
        .filter(|server| stage.servers.is_ready(&server.name));
    let candidates = servers.filter_map(|server| match (&server.member, stage.servers.role(&server.name)) {
        (None, _) => Some((0, server.name.clone())),
        (Some(_), Some((Role::Primary, epoch))) => Some((epoch, server.name.clone())),
        _ => None,
    });
    candidates.max().map(|(_, name)| name)
}

/// Tries until a write is acknowledged by the primary.
async fn write_again(stage: &Stage) {
    for attempt in 1.. {
        if let Some(name) = primary(stage)
            && let Ok(session) = stage.directory.open(&name, "liveness").await
            && make_table(&session, &format!("liveness_{attempt}")).await.is_ok()
        {
            return;
        }
        runtime::sleep(LOOK).await;
    }
}

async fn make_table(session: &Session, name: &str) -> Result<(), Failure> {
    match session.line() {
        Some(line) => session.over(line.make_lists(name.to_owned(), 0)).await,
        None => {
            let statement = format!("CREATE TABLE {name} (k bigint PRIMARY KEY)");
            session.simple(&statement).await.map(drop)
        }
    }
}

async fn roots_equal(stage: &Stage) {
    loop {
        let roots = stage.servers.roots();
        let servers: BTreeSet<&String> = roots.keys().map(|(server, _)| server).collect();
        let mut by_database: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
        let mut copies: BTreeMap<&String, usize> = BTreeMap::new();
        for ((_, database), root) in &roots {
            by_database.entry(database).or_default().insert(root);
            *copies.entry(database).or_default() += 1;
        }
        let all_up = servers.len() == stage.plan.servers.len();
        let all_have = copies.values().all(|count| *count == servers.len());
        if all_up && all_have && by_database.values().all(|roots| roots.len() == 1) {
            return;
        }
        runtime::sleep(LOOK).await;
    }
}

/// What a server holds; an error if any of its databases cannot be used.
async fn read_content(stage: &Stage, server: &str) -> Result<Content, Failure> {
    const AUDIT: &str = "audit at the end";
    let session = stage.directory.open_patiently(server, AUDIT).await?;
    if session.line().is_none() {
        let databases = session
            .simple("SELECT datname FROM pg_database WHERE datallowconn")
            .await?;
        for database in databases.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
            let session = stage.directory.open_database(server, &database, AUDIT).await?;
            session.simple("SELECT count(*) FROM pg_class").await?;
        }
    }
    let mut content = Content::new();
    for workload in &stage.plan.workload {
        let workload = workload.spec.make();
        if let (Some(line), Some((table, _))) = (session.line(), workload.lists()) {
            let lists = session.over(line.lists(table.clone())).await;
            content.entry(table).or_default().extend(rows_or_no_table(lists)?);
            continue;
        }
        // What was committed together is read together: a standby may still be taking roots.
        session.simple("BEGIN").await?;
        for (table, query) in workload.contents() {
            let found = session.simple(&query).await;
            if found.is_err() {
                // The transaction went with the statement.
                session.simple("ROLLBACK").await?;
                session.simple("BEGIN").await?;
            }
            let keys = content.entry(table).or_default();
            for row in rows_or_no_table(found)? {
                if let [Some(key), values] = &row[..]
                    && let Ok(key) = key.parse()
                {
                    keys.insert(key, parse_list(values.as_deref().unwrap_or_default()));
                }
            }
        }
        session.simple("COMMIT").await?;
    }
    Ok(content)
}
