//! A check as a scenario file says it: `liveness`, `{ durability: replicated }`.

use std::fmt;

use super::{Arg, CHECKS, CheckUse, Section, parse, server_fact};
use crate::units::show_micros;
use crate::yaml::Node;

impl fmt::Display for CheckUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.arg {
            Arg::None => f.write_str(self.name),
            Arg::Word(word) => write!(f, "{{ {}: {word} }}", self.name),
            Arg::Time(time) => {
                let time = i64::try_from(*time).unwrap_or(i64::MAX);
                write!(f, "{{ {}: {} }}", self.name, show_micros(time))
            }
            // The quoting of JSON is understood by YAML.
            Arg::Texts(texts) => write!(f, "{{ {}: {} }}", self.name, serde_json::json!(texts)),
        }
    }
}

impl From<CheckUse> for String {
    fn from(check: CheckUse) -> String {
        check.to_string()
    }
}

impl TryFrom<String> for CheckUse {
    type Error = String;

    fn try_from(text: String) -> Result<CheckUse, String> {
        let name = text.trim_matches(['{', '}', ' ']).split(':').next().unwrap_or_default();
        let known = CHECKS.iter().find(|check| check.name == name);
        let section = match known.map(|check| check.section) {
            Some(Section::Sometimes) => "sometimes",
            None if server_fact(name).is_some() => "sometimes",
            _ => "finally",
        };
        let node = Node::parse("check", &format!("[{text}]")).map_err(|complaint| complaint.what)?;
        let uses = parse(section, &node, None).map_err(|complaint| complaint.what)?;
        match <[CheckUse; 1]>::try_from(uses) {
            Ok([check]) => Ok(check),
            Err(_) => Err(format!("{text:?} is not one check")),
        }
    }
}
