//! From a tree of YAML to values by key, collecting every problem on the way.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::keys::{self, Kind, Support};
use super::problem::{Problem, ProblemKind};
use super::yaml::{Content, Entry, Node};

/// The values of a file that have the right shape, by dotted path with list indices (`standby_remotes[0]`).
#[derive(Debug, Default)]
pub(super) struct Found {
    values: BTreeMap<String, (Value, usize)>,
    /// Lines of sections, and the number of entries of lists of mappings.
    sections: BTreeMap<String, (usize, usize)>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Texts(Vec<String>),
    Scalars(IndexMap<String, String>),
}

impl Found {
    pub fn line(&self, path: &str) -> Option<usize> {
        self.values
            .get(path)
            .map(|(_, line)| *line)
            .or_else(|| self.sections.get(path).map(|(line, _)| *line))
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        match self.values.get(path) {
            Some((Value::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, path: &str) -> Option<i64> {
        match self.values.get(path) {
            Some((Value::Int(int), _)) => Some(*int),
            _ => None,
        }
    }

    pub fn bool(&self, path: &str) -> Option<bool> {
        match self.values.get(path) {
            Some((Value::Bool(bool), _)) => Some(*bool),
            _ => None,
        }
    }

    pub fn texts(&self, path: &str) -> &[String] {
        match self.values.get(path) {
            Some((Value::Texts(texts), _)) => texts,
            _ => &[],
        }
    }

    pub fn scalars(&self, path: &str) -> IndexMap<String, String> {
        match self.values.get(path) {
            Some((Value::Scalars(scalars), _)) => scalars.clone(),
            _ => IndexMap::new(),
        }
    }

    pub fn has_section(&self, path: &str) -> bool {
        self.sections.contains_key(path)
    }

    /// Entries of the list of mappings at `path`.
    pub fn list_len(&self, path: &str) -> usize {
        self.sections.get(path).map_or(0, |(_, len)| *len)
    }

    /// Whether something was written at `path` that did not have the right shape or was not allowed; such a key has
    /// its problem already and needs no second one.
    pub fn was_refused(&self, path: &str, problems: &[Problem]) -> bool {
        problems.iter().any(|problem| problem.key == path)
    }
}

/// Reads `root` against the table of keys. What is wrong goes to `problems`, the rest to the result.
pub(super) fn read(root: &Node, file: &str, problems: &mut Vec<Problem>) -> Found {
    let mut reader = Reader {
        file,
        found: Found::default(),
        problems,
    };
    reader.section(root, "", "");
    reader.found
}

struct Reader<'a> {
    file: &'a str,
    found: Found,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, kind: ProblemKind, line: usize, key: &str, message: String) {
        self.problems
            .push(Problem::new(kind, self.file, Some(line), key, message));
    }

    /// `schema` is the path as in the table, `path` the concrete one.
    fn section(&mut self, node: &Node, schema: &str, path: &str) {
        let entries = match &node.content {
            Content::Mapping(entries) => entries,
            Content::Null => return,
            content => {
                let message = format!(
                    "{} is a wrong type; allowed: a mapping of keys to values",
                    shown(content)
                );
                return self.problem(ProblemKind::Shape, node.line, path, message);
            }
        };
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in entries {
            let key = join(path, &entry.key);
            if let Some(first) = seen.get(entry.key.as_str()) {
                let message = format!("duplicate key, first given in line {first}; remove one");
                self.problem(ProblemKind::Shape, entry.line, &key, message);
                continue;
            }
            seen.insert(&entry.key, entry.line);
            self.entry(entry, &join(schema, &entry.key), &key, schema);
        }
    }

    fn entry(&mut self, entry: &Entry, schema: &str, path: &str, parent: &str) {
        if let Some(key) = keys::find(schema) {
            self.value(entry, key, path);
        } else if keys::is_section(schema) {
            self.found.sections.insert(path.to_owned(), (entry.line, 0));
            self.section(&entry.value, schema, path);
        } else if keys::is_section(&format!("{schema}[]")) {
            self.list(entry, schema, path);
        } else {
            let hint = match keys::suggestion(parent, &entry.key) {
                Some(nearest) => format!("; did you mean `{}`?", nearest.replace("[]", "")),
                None => "; `--config-help` lists all keys".to_owned(),
            };
            self.problem(ProblemKind::Shape, entry.line, path, format!("unknown key{hint}"));
        }
    }

    fn list(&mut self, entry: &Entry, schema: &str, path: &str) {
        let items = match &entry.value.content {
            Content::Sequence(items) => items.as_slice(),
            Content::Null => &[],
            content => {
                let message = format!("{} is a wrong type; allowed: a list of mappings", shown(content));
                return self.problem(ProblemKind::Shape, entry.value.line, path, message);
            }
        };
        self.found.sections.insert(path.to_owned(), (entry.line, items.len()));
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.found.sections.insert(path.clone(), (item.line, 0));
            self.section(item, &format!("{schema}[]"), &path);
        }
    }

    fn value(&mut self, entry: &Entry, key: &keys::Key, path: &str) {
        let line = entry.value.line;
        let value = match convert(&entry.value, key.kind) {
            Converted::Absent => return,
            Converted::Value(value) => value,
            Converted::WrongType(hint) => {
                let value = if key.kind == Kind::Secret {
                    "this".to_owned()
                } else {
                    shown(&entry.value.content)
                };
                let message = format!("{value} is a wrong type; allowed: {}{hint}", keys::allowed(key.kind));
                return self.problem(ProblemKind::Shape, line, path, message);
            }
            Converted::OutOfRange => {
                let message = format!(
                    "{} is not allowed; allowed: {}",
                    shown(&entry.value.content),
                    keys::allowed(key.kind)
                );
                return self.problem(ProblemKind::Value, line, path, message);
            }
        };
        match key.support {
            Support::Full => {}
            Support::Ignored(why) => {
                self.found
                    .warnings
                    .push(format!("{}:{line}: {path} has no effect: {why}", self.file));
            }
            Support::Missing(feature) if !is_default(&value, key.default) => {
                let value = if key.kind == Kind::Anything {
                    "the section".to_owned()
                } else {
                    shown(&entry.value.content)
                };
                let message = format!("{value} is refused: this version does not support {feature}; remove the key");
                self.problem(ProblemKind::Unsupported, line, path, message);
            }
            Support::Missing(_) => {}
        }
        self.found.values.insert(path.to_owned(), (value, line));
    }
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

enum Converted {
    Absent,
    Value(Value),
    WrongType(&'static str),
    OutOfRange,
}

fn convert(node: &Node, kind: Kind) -> Converted {
    use Converted::{Absent, OutOfRange, WrongType};
    let (text, quoted) = match (&node.content, kind) {
        (Content::Null, _) => return Absent,
        (content, Kind::Anything) => return anything(content),
        (Content::Sequence(items), Kind::Texts) => {
            let texts: Option<Vec<String>> = items.iter().map(scalar_text).collect();
            return texts.map_or(WrongType(""), |texts| Converted::Value(Value::Texts(texts)));
        }
        (Content::Mapping(entries), Kind::Scalars) => return scalars(entries),
        (_, Kind::Texts | Kind::Scalars) => return WrongType(""),
        (Content::Scalar { text, quoted }, _) => (text, *quoted),
        (Content::Sequence(_) | Content::Mapping(_), _) => return WrongType(""),
    };
    let is_bool = !quoted && boolean(text).is_some();
    Converted::Value(match kind {
        Kind::Text | Kind::Secret if is_bool => return WrongType(" (quote it if it is meant as text)"),
        Kind::Text | Kind::Secret => Value::Text(text.clone()),
        Kind::Word(words) if text.is_empty() || words.contains(&text.as_str()) => Value::Text(text.clone()),
        Kind::Word(_) => return OutOfRange,
        Kind::Bool | Kind::Int { .. } if quoted => return WrongType(" without quotes"),
        Kind::Bool => match boolean(text) {
            Some(value) => Value::Bool(value),
            None => return WrongType(""),
        },
        Kind::Int { min, max } => match integer(text) {
            Some(value) if i128::from(min) <= value && value <= i128::from(max) => {
                Value::Int(i64::try_from(value).expect("between two i64"))
            }
            Some(_) => return OutOfRange,
            None => return WrongType(""),
        },
        Kind::Texts | Kind::Scalars | Kind::Anything => return WrongType(""),
    })
}

fn anything(content: &Content) -> Converted {
    let empty = match content {
        Content::Sequence(items) => items.is_empty(),
        Content::Mapping(entries) => entries.is_empty(),
        Content::Null => true,
        Content::Scalar { text, .. } => text.is_empty(),
    };
    // Only that there is something matters: it is about to be refused as unsupported.
    if empty {
        Converted::Absent
    } else {
        Converted::Value(Value::Text("set".to_owned()))
    }
}

fn scalars(entries: &[Entry]) -> Converted {
    let mut map = IndexMap::new();
    for entry in entries {
        let Some(text) = scalar_text(&entry.value) else {
            return Converted::WrongType(" (each value a text, number or boolean)");
        };
        if map.insert(entry.key.to_lowercase(), text).is_some() {
            return Converted::WrongType(" (a name is given twice)");
        }
    }
    Converted::Value(Value::Scalars(map))
}

fn scalar_text(node: &Node) -> Option<String> {
    match &node.content {
        Content::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

fn is_default(value: &Value, default: &str) -> bool {
    match value {
        Value::Text(text) => text == default,
        Value::Bool(value) => boolean(default) == Some(*value),
        Value::Int(value) => integer(default) == Some(i128::from(*value)),
        Value::Texts(texts) => texts.is_empty(),
        Value::Scalars(scalars) => scalars.is_empty(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Decimal only: `0x10` and `1e3` in a port are more often a slip than a wish.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A value as a message shows it, cut where it is long.
fn shown(content: &Content) -> String {
    match content {
        Content::Null => "nothing".to_owned(),
        Content::Sequence(_) => "a list".to_owned(),
        Content::Mapping(_) => "a mapping".to_owned(),
        Content::Scalar { text, .. } => {
            let short: String = text.chars().take(80).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("`{}{more}`", short.escape_debug())
        }
    }
}
