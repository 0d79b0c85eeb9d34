//! The sample that `--config-help` prints, made from the table of keys.

use super::keys::{self, KEYS, Kind, Support};

/// A commented YAML file with every key, its default, what is allowed and what it means. It loads as it stands.
pub fn sample() -> String {
    let mut text = String::from(
        "# Every key with its default. A key that is left out has its default; unknown keys are errors.\n\
         # ${NAME} is replaced from the environment; $$ writes a dollar sign.\n\
         # Relative paths start at the working directory.\n",
    );
    let mut section: Vec<&str> = Vec::new();
    for key in KEYS {
        let mut parts: Vec<&str> = key.path.split('.').collect();
        let name = parts.pop().unwrap_or_default();
        let common = parts.iter().zip(&section).take_while(|(a, b)| a == b).count();
        if parts.is_empty() && !section.is_empty() || common == 0 && !parts.is_empty() {
            text.push('\n');
        }
        for (depth, part) in parts.iter().enumerate().skip(common) {
            text.push_str(&format!("# {}{}:\n", "  ".repeat(depth), part.trim_end_matches("[]")));
        }
        let first_of_item = common < parts.len();
        section.clone_from(&parts);
        let in_list = parts.last().is_some_and(|part| part.ends_with("[]"));
        let lists_above = parts.iter().rev().skip(1).filter(|part| part.ends_with("[]")).count();
        let indent = "  ".repeat(parts.len() + lists_above);
        let dash = match (in_list, first_of_item) {
            (true, true) => "- ",
            (true, false) => "  ",
            (false, _) => "",
        };
        let support = match key.support {
            Support::Full => String::new(),
            Support::Ignored(why) => format!(" (no effect: {why})"),
            Support::Missing(_) => " (not in this version)".to_owned(),
        };
        let allowed = match key.kind {
            Kind::Text | Kind::Secret | Kind::Anything => String::new(),
            kind => format!("; {}", keys::allowed(kind)),
        };
        let default = if key.default.is_empty() {
            String::new()
        } else {
            format!(" {}", key.default)
        };
        text.push_str(&format!(
            "# {indent}{dash}{name}:{default}   # {}{allowed}{support}\n",
            key.help
        ));
    }
    text
}
