//! YAML with line numbers: the tree that scenario files are read from.
//!
//! Invariants
//! - Every node knows the line it starts on, so that every complaint can name file and line.
//! - A key that nobody allowed, and a key written twice, is an error that lists the allowed words; nothing is ignored.
//!
//! Must not know: what a scenario is.

use std::fmt;

use saphyr_parser::{Event, Parser, Span};

/// Lists nested deeper than this are refused: scenario files need five levels.
const DEPTH_MAX: usize = 24;

/// What is wrong with a scenario file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    pub file: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

impl std::error::Error for Complaint {}

/// A node of the tree.
#[derive(Debug, Clone, Default)]
pub struct Node {
    pub file: String,
    pub line: usize,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Default for Value {
    fn default() -> Value {
        Value::Scalar(String::new())
    }
}

impl Node {
    /// Reads the one document of `text`. `file` is only used in complaints.
    pub fn parse(file: &str, text: &str) -> Result<Node, Complaint> {
        let mut builder = Builder {
            file,
            parser: Parser::new_from_str(text),
            line: 1,
        };
        loop {
            match builder.next()?.0 {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd | Event::DocumentEnd => return Err(builder.complain(1, "the file is empty")),
                event => {
                    let line = builder.line;
                    let root = builder.node(event, line, 0)?;
                    loop {
                        match builder.next()?.0 {
                            Event::StreamEnd => return Ok(root),
                            Event::DocumentEnd => {}
                            _ => {
                                return Err(
                                    builder.complain(builder.line, "one document per file, here starts another")
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    /// Puts `text` in the place that `path` names: keys with dots between; an entry of a list by its number from 0, by its
    /// `name`, or by its own first key. A key that is not there yet is added at the end of its mapping.
    ///
    /// # Errors
    /// Says which part of the path leads nowhere, or what is wrong with the text.
    pub fn set(&mut self, path: &str, text: &str) -> Result<(), String> {
        let value = Node::parse(&format!("--set {path}"), text).map_err(|complaint| complaint.to_string())?;
        let mut place = self;
        let keys: Vec<&str> = path.split('.').collect();
        for (depth, key) in keys.iter().enumerate() {
            let last = depth + 1 == keys.len();
            place = place
                .below(key, last)
                .ok_or_else(|| format!("--set {path}: there is no {key:?} in {}", keys[..depth].join(".")))?;
        }
        *place = value;
        Ok(())
    }

    fn below(&mut self, key: &str, add: bool) -> Option<&mut Node> {
        match &mut self.value {
            Value::Scalar(_) => None,
            Value::Map(entries) => {
                let found = entries.iter().position(|(known, _)| known == key);
                let at = match found {
                    Some(at) => at,
                    None if add => {
                        entries.push((key.to_owned(), Node::default()));
                        entries.len() - 1
                    }
                    None => return None,
                };
                Some(&mut entries[at].1)
            }
            Value::List(entries) => {
                let is_named = |node: &Node| match &node.value {
                    Value::Map(entries) => entries
                        .iter()
                        .any(|(known, name)| known == "name" && name.text("name").is_ok_and(|name| name == key)),
                    _ => false,
                };
                if let Some(at) = key.parse().ok().or_else(|| entries.iter().position(is_named)) {
                    return entries.get_mut(at);
                }
                let mut first = entries.iter_mut().filter_map(|node| match &mut node.value {
                    Value::Map(entries) => entries.first_mut(),
                    _ => None,
                });
                first.find(|(known, _)| known == key).map(|(_, node)| node)
            }
        }
    }

    pub fn complain(&self, what: impl Into<String>) -> Complaint {
        Complaint {
            file: self.file.clone(),
            line: self.line,
            what: what.into(),
        }
    }

    /// The text of a scalar; `what` names the value in the complaint.
    pub fn text(&self, what: &str) -> Result<&str, Complaint> {
        match &self.value {
            Value::Scalar(text) => Ok(text),
            Value::List(_) => Err(self.complain(format!("{what}: one value expected, found a list"))),
            Value::Map(_) => Err(self.complain(format!("{what}: one value expected, found a mapping"))),
        }
    }

    /// The entries of a list; a single value counts as a list of one.
    pub fn list(&self) -> Vec<&Node> {
        match &self.value {
            Value::List(entries) => entries.iter().collect(),
            _ => vec![self],
        }
    }

    /// The entries of something that must be written as a list.
    pub fn strict_list(&self, what: &str) -> Result<&[Node], Complaint> {
        match &self.value {
            Value::List(entries) => Ok(entries),
            _ => Err(self.complain(format!("{what}: a list expected, as in [a, b]"))),
        }
    }

    /// Every entry of a mapping whose keys are free names.
    pub fn entries(&self, what: &str) -> Result<&[(String, Node)], Complaint> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.complain(format!("{what}: a mapping expected, as in {{ name: value }}"))),
        }
    }

    /// The entries of a mapping that allows only the keys `allowed`.
    pub fn fields(&self, what: &'static str, allowed: &[&str]) -> Result<Fields<'_>, Complaint> {
        let entries = self.entries(what)?;
        for (key, value) in entries {
            if !allowed.contains(&key.as_str()) {
                return Err(value.complain(unknown(what, key, allowed)));
            }
        }
        Ok(Fields {
            what,
            node: self,
            entries,
        })
    }

    /// The one of `allowed` that this scalar spells.
    pub fn word<'a>(&self, what: &str, allowed: &[&'a str]) -> Result<&'a str, Complaint> {
        let text = self.text(what)?;
        let found = allowed.iter().find(|word| **word == text);
        found
            .copied()
            .ok_or_else(|| self.complain(unknown(what, text, allowed)))
    }

    /// The node as it would be written on one line: what names a random stream, so that it must not depend on layout.
    pub fn canonical(&self) -> String {
        match &self.value {
            Value::Scalar(text) => text.clone(),
            Value::List(entries) => format!(
                "[{}]",
                entries.iter().map(Node::canonical).collect::<Vec<_>>().join(", ")
            ),
            Value::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, node)| format!("{key}: {}", node.canonical()))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }
}

/// The words for "not one of these".
pub fn unknown(what: &str, found: &str, allowed: &[&str]) -> String {
    format!("{what}: unknown word {found:?}; allowed here: {}", allowed.join(", "))
}

/// A mapping whose keys were checked.
#[derive(Debug)]
pub struct Fields<'a> {
    what: &'static str,
    pub node: &'a Node,
    entries: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    pub fn require(&self, key: &str) -> Result<&'a Node, Complaint> {
        self.get(key)
            .ok_or_else(|| self.node.complain(format!("{}: the key {key:?} is missing", self.what)))
    }
}

struct Builder<'a> {
    file: &'a str,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    line: usize,
}

impl<'a> Builder<'a> {
    fn complain(&self, line: usize, what: impl Into<String>) -> Complaint {
        Complaint {
            file: self.file.to_owned(),
            line,
            what: what.into(),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Complaint> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok((event, span))
            }
            Some(Err(error)) => Err(self.complain(error.marker().line(), format!("not YAML: {}", error.info()))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Complaint> {
        if depth > DEPTH_MAX {
            return Err(self.complain(line, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let value = match event {
            Event::Scalar(text, _, 0, None) => Value::Scalar(text.into_owned()),
            Event::SequenceStart(0, None) => self.list(depth)?,
            Event::MappingStart(0, None) => self.map(depth)?,
            _ => return Err(self.complain(line, "anchors, aliases and tags are not used in scenario files")),
        };
        Ok(Node {
            file: self.file.to_owned(),
            line,
            value,
        })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Complaint> {
        let mut entries = Vec::new();
        loop {
            let (event, _) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(entries));
            }
            let line = self.line;
            entries.push(self.node(event, line, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Complaint> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let key = match self.next()?.0 {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.complain(self.line, "a key must be a word")),
            };
            if entries.iter().any(|(name, _)| *name == key) {
                return Err(self.complain(self.line, format!("the key {key:?} is written twice")));
            }
            let (event, _) = self.next()?;
            let line = self.line;
            entries.push((key, self.node(event, line, depth + 1)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_put_in_the_place_that_is_named() {
        let mut root = Node::parse(
            "f",
            "a: { b: 1 }\nlist:\n  - { kind: { rate: 2 }, name: n }\n  - { other: 3 }\n",
        )
        .unwrap();
        for (path, value) in [
            ("a.b", "4"),
            ("a.new", "[x, y]"),
            ("list.kind.rate", "5"),
            ("list.n.added", "6"),
            ("list.1.other", "{ deep: 7 }"),
            ("list.other.deep", "8"),
        ] {
            root.set(path, value).unwrap();
        }
        let expected = Node::parse(
            "f",
            "a: { b: 4, new: [x, y] }\nlist:\n  - { kind: { rate: 5 }, name: n, added: 6 }\n  - { other: { deep: 8 } }\n",
        );
        fn plain(node: &Node) -> String {
            match &node.value {
                Value::Scalar(text) => text.clone(),
                Value::List(entries) => format!("{:?}", entries.iter().map(plain).collect::<Vec<_>>()),
                Value::Map(entries) => {
                    format!(
                        "{:?}",
                        entries.iter().map(|(key, node)| (key, plain(node))).collect::<Vec<_>>()
                    )
                }
            }
        }
        assert_eq!(plain(&root), plain(&expected.unwrap()));
        for (path, value, part) in [
            ("a.c.d", "1", "there is no \"c\" in a"),
            ("list.7", "1", "there is no \"7\" in list"),
            ("a.b.c", "1", "there is no \"c\" in a.b"),
            ("a", "{ open", "--set a:"),
        ] {
            let error = root.set(path, value).unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
        }
    }

    #[test]
    fn nodes_know_their_lines() {
        let root = Node::parse("f.yaml", "a: 1\nb:\n  - x\n  - { c: [1, 2] }\n").unwrap();
        let b = &root.entries("root").unwrap()[1].1;
        let entries = b.strict_list("b").unwrap();
        assert_eq!((entries[0].line, entries[1].line), (3, 4));
        assert_eq!(entries[1].canonical(), "{ c: [1, 2] }");
    }

    #[test]
    fn unknown_and_repeated_keys_name_file_line_and_allowed_words() {
        let root = Node::parse("f.yaml", "a: 1\nzzz: 2\n").unwrap();
        let error = root.fields("scenario", &["a", "b"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "f.yaml:2: scenario: unknown word \"zzz\"; allowed here: a, b"
        );
        let error = Node::parse("f.yaml", "a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.to_string(), "f.yaml:2: the key \"a\" is written twice");
    }

    #[test]
    fn what_is_not_one_plain_document_is_refused_with_its_line() {
        for (text, line, part) in [
            ("", 1, "empty"),
            ("a: [1, 2\nb: 3", 2, "not YAML"),
            ("a: &x 1\nb: *x\n", 1, "anchors"),
            ("a: !!str 1\n", 1, "anchors, aliases and tags"),
            ("a: 1\n---\nb: 2\n", 2, "one document"),
            ("? [a]\n: 1\n", 1, "a key must be a word"),
        ] {
            let error = Node::parse("f.yaml", text).unwrap_err();
            assert!(error.what.contains(part), "{text:?}: {error}");
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
        let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
        assert!(Node::parse("f.yaml", &deep).is_err());
    }
}
