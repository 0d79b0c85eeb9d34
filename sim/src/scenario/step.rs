//! The steps of a scenario: when something happens, and what.
//!
//! A choice in a file (`kill: [none, a, b]`) is read as the list of concrete actions it can become, so that a plan
//! holds one of them and knows nothing of choices. New faults go into `fault.rs`.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Names;
use super::cluster::{Role, check_name};
use super::disk::{DiskSettings, DiskSpec};
use super::fault::{self, Fault, Lasts, parse_lasts};
use super::sides::{Sides, parse_direction, parse_sides};
use crate::draw::Draw;
use crate::units::{self, Micros, show_micros};
use crate::yaml::{Complaint, Node, Value, unknown};

/// One step before the seed has drawn.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// The mark that later steps and workloads can wait for: it is reached when the action has been carried out.
    pub name: Option<String>,
    pub trigger: Trigger<Draw<Micros>>,
    /// What this step may become; the seed picks one.
    pub choices: Vec<Action>,
    /// Names this step's random stream: its text, so that other steps can come and go.
    pub canonical: String,
    pub line: usize,
}

/// When a step acts. `T` is [`Draw`] in a scenario and plain microseconds in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger<T> {
    At(T),
    After {
        mark: String,
        delay: T,
    },
    /// Again and again, until the mark is reached.
    Every {
        period: T,
        until: String,
    },
    /// As soon as the condition holds; counted from the moment the step above is done. Late is a failure.
    When {
        condition: Condition,
        within: Micros,
    },
}

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    Role(Vec<(String, Role, u64)>),
    Sql {
        server: String,
        run: String,
        rows: Vec<Vec<String>>,
    },
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    /// The servers that it looks at.
    pub fn servers(&self) -> Vec<&str> {
        match self {
            Condition::Role(wanted) => wanted.iter().map(|(name, ..)| name.as_str()).collect(),
            Condition::Sql { server, .. } => vec![server],
            Condition::All(parts) | Condition::Any(parts) => parts.iter().flat_map(Condition::servers).collect(),
        }
    }
}

/// What a statement of the operator must answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    Ok,
    Any,
    SqlState(String),
    Rows(Vec<Vec<String>>),
}

/// Which way a partition cuts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    Both,
    /// Both, again and again, with some time between.
    Flapping,
    /// Only what goes from the side of the first server to the side of the second.
    OneWay {
        from: String,
        to: String,
    },
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Just wait.
    Nothing,
    Sql {
        servers: Vec<String>,
        run: String,
        expect: Expect,
    },
    Partition {
        sides: Sides,
        direction: Direction,
        lasts: Lasts,
    },
    Heal,
    /// The process dies: nothing on disk is lost, everything in memory is, peers get a reset.
    Kill(String),
    /// The machine loses power: unsynced writes are lost or torn, peers hear nothing.
    PowerOff(String),
    /// SIGSTOP: goes on believing what it believed.
    Pause(String),
    Resume(String),
    Restart(Restart),
    /// Changes what a server's disk is like.
    Disk {
        server: String,
        /// What the seed draws from; a plan has no more use for it.
        #[serde(skip)]
        spec: DiskSpec,
        /// What the seed drew of it.
        settings: DiskSettings,
    },
    /// A bit of some file of a server's disk flips at rest.
    Rot(String),
    Fault(Fault),
    /// Ends all faults: resumes, heals and restarts everybody, and disks behave.
    Quiet,
}

impl Action {
    pub fn partition(sides: Sides, direction: Direction) -> Action {
        Action::Partition {
            sides,
            direction,
            lasts: None,
        }
    }

    /// Whether it makes something go wrong, or ends it: what is over when all is quiet.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Action::Nothing | Action::Sql { .. } | Action::Quiet | Action::Fault(Fault::Repair | Fault::Mend)
        )
    }

    /// Settles what a step leaves to the seed beside which action it is.
    pub fn draw(&mut self, stream: impl Fn(&str) -> ChaCha8Rng) {
        match self {
            Action::Disk { spec, settings, .. } => *settings = spec.draw(stream),
            Action::Partition { lasts: Some(lasts), .. } => *lasts = Draw::One(lasts.draw(&mut stream("for"))),
            Action::Fault(fault) => fault.draw(stream),
            _ => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    Server(String),
    /// Whoever is down.
    Down,
}

pub type ParseAction = fn(&Node, &Names) -> Result<Vec<Action>, Complaint>;

/// Every action word with its reader; those of `fault.rs` come after these.
const OWN: &[(&str, ParseAction)] = &[
    ("sql", |node, names| Ok(vec![parse_sql(node, names)?])),
    ("partition", parse_partition),
    ("heal", |node, _| {
        node.word("heal", &["all"]).map(|_| vec![Action::Heal])
    }),
    ("kill", |node, names| parse_targets("kill", node, names, Action::Kill)),
    ("power_off", |node, names| {
        parse_targets("power_off", node, names, Action::PowerOff)
    }),
    ("pause", |node, names| {
        parse_targets("pause", node, names, Action::Pause)
    }),
    ("resume", |node, names| {
        parse_targets("resume", node, names, Action::Resume)
    }),
    ("restart", parse_restart),
    ("disk", parse_disk),
    ("rot", |node, names| parse_targets("rot", node, names, Action::Rot)),
    ("quiet", |node, _| {
        node.word("quiet", &["all"]).map(|_| vec![Action::Quiet])
    }),
];

pub fn actions() -> impl Iterator<Item = &'static (&'static str, ParseAction)> {
    OWN.iter().chain(fault::WORDS)
}

const TRIGGERS: [&str; 4] = ["at", "after", "every", "when"];

impl StepSpec {
    /// Whether some server must answer a statement.
    pub fn needs_sql(&self) -> bool {
        let condition = match &self.trigger {
            Trigger::When { condition, .. } => condition.needs_sql(),
            _ => false,
        };
        condition || self.choices.iter().any(|action| matches!(action, Action::Sql { .. }))
    }
}

impl Condition {
    fn needs_sql(&self) -> bool {
        match self {
            Condition::Role(_) => false,
            Condition::Sql { .. } => true,
            Condition::All(parts) | Condition::Any(parts) => parts.iter().any(Condition::needs_sql),
        }
    }
}

/// Without a pause between them no time would pass.
fn parse_period(node: &Node) -> Result<Draw<Micros>, Complaint> {
    let period = Draw::parse("every", node, units::parse_micros)?;
    match period.ends().contains(&0) {
        true => Err(node.complain("every: 0 is no pause; time would stand still")),
        false => Ok(period),
    }
}

pub fn parse(node: &Node, names: &Names) -> Result<StepSpec, Complaint> {
    let mut allowed = vec!["at", "after", "every", "until", "when", "within", "name"];
    allowed.extend(actions().map(|(word, _)| *word));
    let fields = node.fields("step", &allowed)?;
    let triggers: Vec<&str> = TRIGGERS.into_iter().filter(|word| fields.get(word).is_some()).collect();
    let [word] = triggers[..] else {
        return Err(node.complain(format!(
            "step: exactly one of {} is due, found {}",
            TRIGGERS.join(", "),
            triggers.len()
        )));
    };
    let trigger_node = fields.require(word)?;
    let trigger = match word {
        "at" => Trigger::At(Draw::parse("at", trigger_node, units::parse_micros)?),
        "after" => parse_after(trigger_node, names)?,
        "every" => Trigger::Every {
            period: parse_period(trigger_node)?,
            until: fields.require("until")?.text("until")?.to_owned(),
        },
        _ => {
            let within = fields.require("within")?;
            let limit = units::parse_micros(within.text("within")?)
                .map_err(|error| within.complain(format!("within: {error}")))?;
            Trigger::When {
                condition: parse_condition(trigger_node, names)?,
                within: limit,
            }
        }
    };
    for (key, owner) in [("until", "every"), ("within", "when")] {
        if let Some(node) = fields.get(key)
            && word != owner
        {
            return Err(node.complain(format!("step: {key} belongs to {owner}, this step has {word}")));
        }
    }
    let actions: Vec<&(&str, ParseAction)> = actions().filter(|(word, _)| fields.get(word).is_some()).collect();
    let choices = match actions[..] {
        [] => vec![Action::Nothing],
        [(word, read)] => read(fields.require(word)?, names)?,
        _ => return Err(node.complain("step: at most one action; a second one is a step of its own")),
    };
    let name = fields
        .get("name")
        .map(|node| node.text("name").map(str::to_owned))
        .transpose()?;
    if let Some(mark) = &name {
        check_name("name", mark, node)?;
    }
    Ok(StepSpec {
        name,
        trigger,
        choices,
        canonical: node.canonical(),
        line: node.line,
    })
}

/// `MARK` or `MARK + TIME`.
fn parse_after(node: &Node, names: &Names) -> Result<Trigger<Draw<Micros>>, Complaint> {
    let text = node.text("after")?;
    let (mark, delay) = text.split_once('+').unwrap_or((text, "0s"));
    let (mark, delay) = (mark.trim(), delay.trim());
    if !names.marks.iter().any(|known| known == mark) {
        let known: Vec<&str> = names.marks.iter().map(String::as_str).collect();
        return Err(node.complain(format!(
            "{} (the names of the steps above)",
            unknown("after", mark, &known)
        )));
    }
    let delay = Node {
        value: Value::Scalar(delay.to_owned()),
        ..node.clone()
    };
    Ok(Trigger::After {
        mark: mark.to_owned(),
        delay: Draw::parse("after", &delay, units::parse_micros)?,
    })
}

/// How many of a primary's standbys are behind, or not known not to be.
const BEHIND: &str = "SELECT count(*) FROM dolt_cluster.dolt_cluster_status WHERE replication_lag_millis IS NULL OR replication_lag_millis";

fn parse_condition(node: &Node, names: &Names) -> Result<Condition, Complaint> {
    let words = ["role", "sql", "lag", "all", "any"];
    let fields = node.fields("condition", &words)?;
    let present: Vec<&str> = words.into_iter().filter(|word| fields.get(word).is_some()).collect();
    let [word] = present[..] else {
        return Err(node.complain(format!("condition: exactly one of {} is due", words.join(", "))));
    };
    let node = fields.require(word)?;
    match word {
        "role" => {
            let mut wanted = Vec::new();
            for (name, node) in node.entries("role")? {
                if !names.servers.contains(name) {
                    let servers: Vec<&str> = names.servers.iter().map(String::as_str).collect();
                    return Err(node.complain(unknown("role", name, &servers)));
                }
                let text = node.text("role")?;
                let parsed = text
                    .split_once('@')
                    .and_then(|(role, epoch)| Some((Role::from_word(role)?, epoch.parse().ok()?)));
                let (role, epoch) = parsed.ok_or_else(|| {
                    node.complain(format!(
                        "role: {text:?} is not ROLE@EPOCH with a role of {}",
                        Role::WORDS.join(", ")
                    ))
                })?;
                wanted.push((name.clone(), role, epoch));
            }
            Ok(Condition::Role(wanted))
        }
        "sql" => {
            let fields = node.fields("condition sql", &["server", "run", "rows"])?;
            Ok(Condition::Sql {
                server: names.server("server", fields.require("server")?)?,
                run: fields.require("run")?.text("run")?.to_owned(),
                rows: parse_rows(fields.require("rows")?)?,
            })
        }
        "lag" => {
            let fields = node.fields("condition lag", &["server", "below"])?;
            let below = fields.require("below")?;
            let micros =
                units::parse_micros(below.text("below")?).map_err(|error| below.complain(format!("below: {error}")))?;
            if micros < 1_000 {
                return Err(below.complain("below: servers tell their lag in milliseconds"));
            }
            Ok(Condition::Sql {
                server: names.server("server", fields.require("server")?)?,
                run: format!("{BEHIND} >= {}", micros / 1_000),
                rows: vec![vec!["0".to_owned()]],
            })
        }
        _ => {
            let parts = node
                .strict_list(word)?
                .iter()
                .map(|node| parse_condition(node, names))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(if word == "all" {
                Condition::All(parts)
            } else {
                Condition::Any(parts)
            })
        }
    }
}

fn parse_rows(node: &Node) -> Result<Vec<Vec<String>>, Complaint> {
    let rows = node.strict_list("rows")?.iter();
    rows.map(|row| {
        row.strict_list("rows")?
            .iter()
            .map(|cell| cell.text("rows").map(str::to_owned))
            .collect()
    })
    .collect()
}

fn parse_sql(node: &Node, names: &Names) -> Result<Action, Complaint> {
    let fields = node.fields("sql", &["server", "run", "expect"])?;
    let server = fields.require("server")?;
    let servers = match server.text("server")? {
        "all" => names.servers.clone(),
        _ => vec![names.server("server", server)?],
    };
    let expect_node = fields.require("expect")?;
    let expect = match &expect_node.value {
        Value::Map(_) => Expect::Rows(parse_rows(expect_node.fields("expect", &["rows"])?.require("rows")?)?),
        _ => match expect_node.text("expect")? {
            "ok" => Expect::Ok,
            "any" => Expect::Any,
            text => {
                let code = text.strip_prefix("sqlstate ").map(str::trim);
                let good =
                    |code: &&str| code.len() == 5 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
                let code = code.filter(good).ok_or_else(|| {
                    expect_node.complain(unknown(
                        "expect",
                        text,
                        &["ok", "any", "sqlstate CODE", "{ rows: [[...]] }"],
                    ))
                })?;
                Expect::SqlState(code.to_owned())
            }
        },
    };
    Ok(Action::Sql {
        servers,
        run: fields.require("run")?.text("run")?.to_owned(),
        expect,
    })
}

fn parse_partition(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let fields = node.fields("partition", &["sides", "direction", "for"])?;
    let sides = parse_sides(fields.require("sides")?, names)?;
    let lasts = parse_lasts(fields.get("for"))?;
    let directions = parse_direction(fields.get("direction"), &sides, names)?;
    let partition = |direction| Action::Partition {
        sides: sides.clone(),
        direction,
        lasts: lasts.clone(),
    };
    Ok(directions.into_iter().map(partition).collect())
}

/// `NAME`, `none`, or a list of both.
pub fn parse_targets(
    what: &'static str,
    node: &Node,
    names: &Names,
    action: fn(String) -> Action,
) -> Result<Vec<Action>, Complaint> {
    let mut allowed = vec!["none"];
    allowed.extend(names.servers.iter().map(String::as_str));
    let mut choices = Vec::new();
    for node in node.list() {
        choices.push(match node.word(what, &allowed)? {
            "none" => Action::Nothing,
            name => action(name.to_owned()),
        });
    }
    if choices.is_empty() {
        return Err(node.complain(format!("{what}: an empty list leaves nothing to draw")));
    }
    Ok(choices)
}

fn parse_restart(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let mut allowed = vec!["none", "down"];
    allowed.extend(names.servers.iter().map(String::as_str));
    let mut choices = Vec::new();
    for node in node.list() {
        choices.push(match node.word("restart", &allowed)? {
            "none" => Action::Nothing,
            "down" => Action::Restart(Restart::Down),
            name => Action::Restart(Restart::Server(name.to_owned())),
        });
    }
    if choices.is_empty() {
        return Err(node.complain("restart: an empty list leaves nothing to draw"));
    }
    Ok(choices)
}

fn parse_disk(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let spec = DiskSpec::of(node, &["server"])?;
    let mut allowed = vec!["server"];
    allowed.extend(super::disk::WORDS.iter().map(|word| word.name));
    let server = node.fields("disk", &allowed)?.require("server")?;
    if spec.is_empty() {
        return Err(node.complain("disk: says nothing of the disk, so nothing would change"));
    }
    Ok(vec![Action::Disk {
        server: names.server("server", server)?,
        spec,
        settings: DiskSettings::default(),
    }])
}

impl fmt::Display for Trigger<Micros> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |micros: &Micros| show_micros(i64::try_from(*micros).unwrap_or(i64::MAX));
        match self {
            Trigger::At(at) => write!(f, "at {}", show(at)),
            Trigger::After { mark, delay } => write!(f, "after {mark} + {}", show(delay)),
            Trigger::Every { period, until } => write!(f, "every {} until {until}", show(period)),
            Trigger::When { condition, within } => write!(f, "when {condition} within {}", show(within)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join =
            |parts: &[Condition], word: &str| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(word);
        match self {
            Condition::Role(wanted) => {
                let words: Vec<String> = wanted
                    .iter()
                    .map(|(name, role, epoch)| format!("{name} is {}@{epoch}", role.word()))
                    .collect();
                f.write_str(&words.join(" and "))
            }
            Condition::Sql { server, run, rows } => write!(f, "{server} answers {rows:?} to {run:?}"),
            Condition::All(parts) => write!(f, "({})", join(parts, " and ")),
            Condition::Any(parts) => write!(f, "({})", join(parts, " or ")),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Ok => f.write_str("ok"),
            Expect::Any => f.write_str("any"),
            Expect::SqlState(code) => write!(f, "sqlstate {code}"),
            Expect::Rows(rows) => write!(f, "rows {rows:?}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Nothing => f.write_str("nothing"),
            Action::Sql { servers, run, expect } => write!(f, "sql on {}: {run} (expect {expect})", servers.join(", ")),
            Action::Partition {
                sides,
                direction,
                lasts,
            } => {
                let sides: Vec<String> = sides.iter().map(|side| side.join(" ")).collect();
                write!(f, "partition {}", sides.join(" | "))?;
                match direction {
                    Direction::Both => {}
                    Direction::Flapping => write!(f, ", flapping")?,
                    Direction::OneWay { from, to } => write!(f, ", only {from}->{to}")?,
                }
                match lasts {
                    Some(lasts) => write!(f, ", for {}", lasts.written(fault::time)),
                    None => Ok(()),
                }
            }
            Action::Heal => f.write_str("heal all"),
            Action::Kill(name) => write!(f, "kill {name}"),
            Action::PowerOff(name) => write!(f, "power_off {name}"),
            Action::Pause(name) => write!(f, "pause {name}"),
            Action::Resume(name) => write!(f, "resume {name}"),
            Action::Restart(Restart::Server(name)) => write!(f, "restart {name}"),
            Action::Restart(Restart::Down) => f.write_str("restart down"),
            Action::Disk { server, settings, .. } => write!(f, "disk of {server}: {settings}"),
            Action::Rot(name) => write!(f, "rot {name}"),
            Action::Fault(fault) => write!(f, "{fault}"),
            Action::Quiet => f.write_str("quiet all"),
        }
    }
}
/// Whether a statement tells the server that runs it to take a role, and which, if it says so in a literal. SQL does not
/// care about case.
pub fn role_call(statement: &str) -> Option<Option<Role>> {
    const CALL: &str = "dolt_assume_cluster_role";
    let statement = statement.to_ascii_lowercase();
    let (_, arguments) = statement.split_once(CALL)?;
    let role = arguments
        .split('\'')
        .nth(1)
        .and_then(|word| Role::from_word(word.trim()));
    Some(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, an operator who writes in another case is taken for one who did not move a role.
    #[test]
    fn a_call_for_a_role_is_one_however_it_is_written() {
        let calls = |run: &str| role_call(run);
        assert_eq!(
            calls("SELECT dolt_assume_cluster_role('standby', 2)"),
            Some(Some(Role::Standby))
        );
        assert_eq!(
            calls("select DOLT_ASSUME_CLUSTER_ROLE( 'PRIMARY' , 2)"),
            Some(Some(Role::Primary))
        );
        assert_eq!(calls("SELECT Dolt_Assume_Cluster_Role($1, $2)"), Some(None));
        assert_eq!(calls("SELECT 'standby'"), None);
        assert_eq!(calls("SELECT * FROM dolt_cluster_status"), None);
    }
}
