//! Texts of settings' values: read, checked, and in the form they are shown.

/// PostgreSQL's words for booleans, and their unique beginnings.
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "on" | "1" => return Some(true),
        "off" | "of" | "0" => return Some(false),
        "" => return None,
        _ => {}
    }
    if "true".starts_with(&text) || "yes".starts_with(&text) {
        Some(true)
    } else if "false".starts_with(&text) || "no".starts_with(&text) {
        Some(false)
    } else {
        None
    }
}

pub(super) fn milliseconds(text: &str) -> Result<i64, ()> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(text.len());
    let number: i64 = text[..digits].parse().map_err(|_| ())?;
    let factor = match text[digits..].trim() {
        "" | "ms" => 1,
        "us" => return Ok(number / 1000),
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(()),
    };
    number.checked_mul(factor).ok_or(())
}

pub(super) fn show_milliseconds(millis: i64) -> String {
    if millis == 0 {
        return "0".to_string();
    }
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if millis % factor == 0 {
            return format!("{}{unit}", millis / factor);
        }
    }
    format!("{millis}ms")
}

pub(super) fn date_style(text: &str) -> Option<String> {
    let mut order = "MDY";
    for part in text.split(',') {
        match part.trim().to_ascii_uppercase().as_str() {
            "ISO" => {}
            "MDY" | "US" | "NONEUROPEAN" => order = "MDY",
            "DMY" | "EURO" | "EUROPEAN" => order = "DMY",
            "YMD" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}

/// Names separated by commas, each plain (folded to lower case) or in double quotes.
pub fn split_list(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut characters = text.chars().peekable();
    let mut name = String::new();
    let mut quoted = false;
    let mut seen = false;
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                name.push('"');
                characters.next();
            }
            '"' => {
                quoted = !quoted;
                seen = true;
            }
            ',' if !quoted => {
                if seen {
                    names.push(std::mem::take(&mut name));
                }
                seen = false;
            }
            c if c.is_whitespace() && !quoted => {}
            c => {
                seen = true;
                if quoted {
                    name.push(c);
                } else {
                    name.extend(c.to_lowercase());
                }
            }
        }
    }
    if seen {
        names.push(name);
    }
    names
}
