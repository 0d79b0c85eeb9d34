//! What may be the name of something, and what is named after something else.

/// Longest name of anything, in bytes, as in PostgreSQL.
pub const NAME_BYTES_MAX: usize = 63;

/// The database that exists in a cluster only, holds no tables of users, and can be connected to before anything has
/// been replicated. Names that begin with it belong to the server.
pub const CLUSTER_DATABASE: &str = "dolt_cluster";

/// Why no database can have this name; None when one can. Source: spec/version-control.md 1.3.
#[must_use]
pub fn database_name_problem(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        name if name.len() > NAME_BYTES_MAX => Some("it is longer than 63 bytes"),
        name if name.contains(['/', '@']) => Some("'/' and '@' separate a database from a branch"),
        name if name.chars().any(char::is_control) => Some("it holds a control character"),
        name if name.starts_with(CLUSTER_DATABASE) => Some("names that begin with dolt_cluster belong to the server"),
        _ => None,
    }
}

/// What PostgreSQL calls a primary key that nobody named: of a long name of a table it takes as many characters as leave
/// room for the suffix.
#[must_use]
pub fn primary_key_name(table: &str) -> String {
    const SUFFIX: &str = "_pkey";
    let kept = table.floor_char_boundary(NAME_BYTES_MAX - SUFFIX.len());
    format!("{}{SUFFIX}", &table[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_primary_key_is_a_name() {
        assert_eq!(primary_key_name("t"), "t_pkey");
        assert_eq!(primary_key_name(&"x".repeat(58)), format!("{}_pkey", "x".repeat(58)));
        assert_eq!(primary_key_name(&"x".repeat(63)), format!("{}_pkey", "x".repeat(58)));
        // The thirtieth letter would begin at the last byte there is room for.
        let umlauts = format!("{}xxx", "ü".repeat(30));
        assert_eq!(umlauts.len(), NAME_BYTES_MAX);
        assert_eq!(primary_key_name(&umlauts), format!("{}_pkey", "ü".repeat(29)));
        let shifted = format!("x{}", "ü".repeat(31));
        assert_eq!(primary_key_name(&shifted), format!("x{}_pkey", "ü".repeat(28)));
    }

    #[test]
    fn words_name_the_limit() {
        let words = database_name_problem(&"x".repeat(NAME_BYTES_MAX + 1)).unwrap();
        assert!(words.contains(&format!("{NAME_BYTES_MAX} bytes")), "{words}");
    }
}
