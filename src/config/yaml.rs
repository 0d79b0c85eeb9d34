//! YAML as a tree that remembers its lines.
//!
//! Only what a configuration needs: one document of mappings, sequences and scalars. Anchors, aliases, tags and merge
//! keys are refused, which also rules out documents that expand without bound.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Deeper nesting than any configuration has; bounds the recursion over foreign input.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub content: Content,
    /// Counted from 1.
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Null,
    /// `quoted` text is never a number or a boolean.
    Scalar {
        text: String,
        quoted: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub value: Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// The one document of `text`; `None` when it is empty.
pub(super) fn parse(text: &str) -> Result<Option<Node>, YamlError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
    };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(document),
            Event::DocumentStart(_) if document.is_some() => {
                return Err(error(
                    &span,
                    "a second document begins here; a configuration is one document",
                ));
            }
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => document = Some(reader.node(event, &span, 0)?),
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(scan)) => Err(YamlError {
                line: scan.marker().line(),
                column: scan.marker().col() + 1,
                message: scan.info().to_owned(),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, YamlError> {
        if depth > DEPTH_MAX {
            return Err(error(span, "nested too deeply"));
        }
        let line = span.start.line();
        let content = match event {
            Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => return Err(unsupported(span)),
            Event::SequenceStart(anchor, tag) if anchor != 0 || tag.is_some() => return Err(unsupported(span)),
            Event::MappingStart(anchor, tag) if anchor != 0 || tag.is_some() => return Err(unsupported(span)),
            Event::Alias(_) => return Err(unsupported(span)),
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => Content::Sequence(self.sequence(depth)?),
            Event::MappingStart(..) => Content::Mapping(self.mapping(depth)?),
            _ => return Err(error(span, "a value is missing")),
        };
        Ok(Node { content, line })
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, &span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, YamlError> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = self.node(event, &span, depth + 1)?;
            let key_text = match key.content {
                Content::Scalar { text, .. } => text,
                Content::Null => "~".to_owned(),
                Content::Sequence(_) | Content::Mapping(_) => {
                    return Err(error(&span, "a key must be text, not a list or a mapping"));
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?;
            entries.push(Entry {
                key: key_text,
                line: key.line,
                value,
            });
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Content {
    let quoted = !matches!(style, ScalarStyle::Plain);
    match text {
        "" | "~" | "null" | "Null" | "NULL" if !quoted => Content::Null,
        text => Content::Scalar {
            text: text.to_owned(),
            quoted,
        },
    }
}

fn unsupported(span: &Span) -> YamlError {
    error(
        span,
        "anchors, aliases and tags are not part of a configuration; write the value out",
    )
}

fn error(span: &Span, message: &str) -> YamlError {
    YamlError {
        line: span.start.line(),
        column: span.start.col() + 1,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_keys() {
        let tree = parse("# comment\na: 1\nb:\n  - x\n  - y: 'z'\n").unwrap().unwrap();
        let Content::Mapping(entries) = tree.content else {
            panic!("{tree:?}")
        };
        assert_eq!(
            entries.iter().map(|e| (e.key.as_str(), e.line)).collect::<Vec<_>>(),
            [("a", 2), ("b", 3)]
        );
        let Content::Sequence(items) = &entries[1].value.content else {
            panic!()
        };
        assert_eq!(items[1].line, 5);
    }

    #[test]
    fn empty_texts_are_no_document() {
        for text in ["", "\n\n", "# only a comment\n", "---\n"] {
            let tree = parse(text).unwrap();
            assert!(tree.is_none() || tree.unwrap().content == Content::Null, "{text:?}");
        }
    }

    #[test]
    fn what_could_expand_or_hide_is_refused_with_its_line() {
        let cases = [
            ("a: &x 1\nb: *x\n", 1),
            ("a: !!str 1\n", 1),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: [1,\n", 2),
            ("? [a]\n: 1\n", 1),
        ];
        for (text, line) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.line >= line, "{text:?}: {error:?}");
        }
        let deep = "[".repeat(1000);
        assert!(parse(&deep).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c:\\-\\[\\]{},&*!#'\"|> \\n\\t~]{0,60}") {
            let _ = parse(&text);
        }
    }
}
