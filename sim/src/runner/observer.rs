//! Listens to what servers log, and turns the lines that checks need into events.
//!
//! Servers say what they do by `tracing` events with constant messages: "role assumed", "root appended". All of them go
//! into the trace; those of level warn and error also into the history. Nothing is asked of a server that it would not
//! say in production.
//!
//! Must not know: what checks do with it.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use madsim::task::NodeId;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level as TracingLevel, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use understudy::runtime::simulated::{REFUSED, is_refused_thread};

use crate::history::{Acknowledged, Level, Origin, Root, What, printable};
use crate::record::Recorder;
use crate::report::exit;
use crate::scenario::cluster::Role;

/// Which node of the executor is which of ours; filled in when a process starts.
#[derive(Clone, Default)]
pub struct NodeNames(Arc<Mutex<BTreeMap<NodeId, String>>>);

impl NodeNames {
    /// Says that the running task belongs to `name`.
    pub fn enter(&self, name: &str) {
        self.0.lock().insert(madsim::plugin::node(), name.to_owned());
    }

    fn current(&self) -> String {
        // Outside a task (while the world is put up or taken down) there is no node to ask for.
        if madsim::runtime::Handle::try_current().is_err() {
            return String::new();
        }
        self.0.lock().get(&madsim::plugin::node()).cloned().unwrap_or_default()
    }
}

struct Observer {
    names: NodeNames,
    recorder: Recorder,
}

/// Sends all log lines of this process to `recorder`. Once per process.
pub fn install(names: NodeNames, recorder: Recorder) -> Result<(), String> {
    let subscriber = Registry::default().with(Observer { names, recorder });
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())
}

impl<S: Subscriber> Layer<S> for Observer {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries log a great deal at debug; what ours say is what the checks know.
        metadata.is_event()
            && (*metadata.level() <= TracingLevel::INFO
                || metadata.target().starts_with("understudy") && *metadata.level() <= TracingLevel::DEBUG)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let node = self.names.current();
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(what) = fields.fact() {
            self.recorder.record(&node, what);
        }
        let level = match *event.metadata().level() {
            TracingLevel::ERROR => Level::Error,
            TracingLevel::WARN => Level::Warn,
            _ => {
                self.recorder
                    .detail(&node, "said", format_args!("{} {}", fields.message, fields.text));
                return;
            }
        };
        self.recorder.record(
            &node,
            What::Log {
                level,
                message: fields.message,
                fields: fields.text,
            },
        );
    }
}

/// The fields of one event.
#[derive(Default)]
struct Fields {
    message: String,
    text: String,
    named: BTreeMap<&'static str, String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value.to_owned());
    }
}

impl Fields {
    fn add(&mut self, name: &'static str, value: String) {
        if name == "message" {
            self.message = value;
            return;
        }
        let value = match value.contains(char::is_control) {
            true => printable(&value),
            false => value,
        };
        let _ = write!(self.text, "{name}={value} ");
        self.named.insert(name, value);
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }

    /// What this line says that a check knows.
    fn fact(&self) -> Option<What> {
        match self.message.as_str() {
            "role assumed" | "cluster started" => {
                let role = Role::from_word(self.get("role")?)?;
                Some(What::Role {
                    role,
                    epoch: self.get("epoch")?.parse().ok()?,
                })
            }
            "root appended" => Some(What::Root(Root {
                database: self.get("database")?.to_owned(),
                sequence: self.get("sequence")?.parse().ok()?,
                root: self.get("root")?.to_owned(),
                previous: self.get("previous")?.to_owned(),
                epoch: self.get("epoch")?.parse().ok()?,
                origin: Origin::from_word(self.get("origin")?)?,
            })),
            // The scenario's servers name each standby remote after the server it points to.
            "root acknowledged" => Some(What::Acknowledged(Acknowledged {
                by: self.get("remote")?.to_owned(),
                database: self.get("database")?.to_owned(),
                sequence: self.get("sequence")?.parse().ok()?,
                root: self.get("root")?.to_owned(),
            })),
            _ => None,
        }
    }
}

const _: () = assert!(
    REFUSED == exit::REFUSED as i32,
    "one exit code for all that no seed repeats"
);

/// Makes every panic an event, and prints it where it happened.
pub fn record_panics(names: NodeNames, recorder: Recorder) {
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let text = info.payload_as_str().unwrap_or("a panic without words");
        if is_refused_thread(info.location().map_or("", |location| location.file())) {
            eprintln!(
                "sim: a thread was started on {}, which no seed repeats",
                names.current()
            );
            std::process::exit(REFUSED);
        }
        eprintln!("panic on {}: {text} ({place})", names.current());
        recorder.record(
            &names.current(),
            What::Panic {
                message: format!("{text} ({place})"),
            },
        );
    }));
}
