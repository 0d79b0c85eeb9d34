//! Large values: rows of many kilobytes that are replaced and read back whole.

use async_trait::async_trait;
use rand::Rng;

use super::append::table_name;
use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload, WorkloadSpec};
use crate::history::{Read, Write};

pub const KIND: Kind = Kind {
    name: "large",
    about: "inserts of large values, each read back whole by somebody",
    params: &[Param {
        name: "bytes",
        about: "bytes of a value",
        default: (100, 60_000),
        max: 4_000_000,
    }],
    looks_at: None,
    make: |spec| Box::new(Large::new(spec)),
};

/// The table name, after the workload's, under which it is recorded whether values were whole.
pub const WHOLE: &str = "whole";

struct Large {
    table: String,
    /// What this client has written: its key, which is also its number, and how long it is.
    written: Vec<(i64, usize)>,
}

impl Large {
    fn new(spec: &WorkloadSpec) -> Large {
        Large {
            table: table_name(&spec.name),
            written: Vec::new(),
        }
    }
}

/// `value,` and then letters that follow from it.
fn text_of(value: i64, bytes: u64) -> String {
    let mut text = format!("{value},");
    let mut state = value.unsigned_abs() | 1;
    while u64::try_from(text.len()).expect("a length fits") < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let letter = b'a' + u8::try_from(state >> 33 & 15).expect("four bits");
        text.push(char::from(letter));
    }
    text
}

fn is_whole(text: &str, value: i64, bytes: usize) -> bool {
    text.len() == bytes && text == text_of(value, u64::try_from(bytes).expect("a length fits"))
}

#[async_trait]
impl Workload for Large {
    fn setup(&self) -> Vec<String> {
        vec![format!(
            "CREATE TABLE {} (k bigint PRIMARY KEY, v text NOT NULL)",
            self.table
        )]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        if !self.written.is_empty() && client.rng.random_bool(0.3) {
            let (key, bytes) = self.written[client.rng.random_range(0..self.written.len())];
            client.invoke_reading("look", Vec::new());
            let sql = format!("SELECT v FROM {} WHERE k = {key}", self.table);
            let rows = match client.session().simple(&sql).await {
                Ok(rows) => rows,
                Err(failure) => return Err(client.fail(failure, false)),
            };
            let found = rows.first().and_then(|row| row.first()?.as_deref());
            // One that is gone is for other checks: after a forced failover it may be.
            let whole = found.is_none_or(|text| is_whole(text, key, bytes));
            client.ok(vec![Read {
                table: format!("{}_{WHOLE}", self.table),
                key,
                values: vec![i64::from(whole)],
            }]);
            return Ok(());
        }
        let value = client.fresh_value();
        let text = text_of(value, client.param("bytes"));
        let write = Write {
            table: self.table.clone(),
            key: value,
            value,
        };
        client.invoke("store", vec![write]);
        let sql = format!("INSERT INTO {} VALUES ($1, $2)", self.table);
        match client.session().execute(&sql, &[&value, &text]).await {
            Ok(_) => {
                client.ok(Vec::new());
                self.written.push((value, text.len()));
                Ok(())
            }
            Err(failure) => Err(client.fail(failure, true)),
        }
    }

    fn contents(&self) -> Vec<(String, String)> {
        let sql = format!("SELECT k, split_part(v, ',', 1) FROM {}", self.table);
        vec![(self.table.clone(), sql)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_cut_short_is_not_whole() {
        let text = text_of(1_000_002, 300);
        assert!(is_whole(&text, 1_000_002, 300));
        assert!(!is_whole(&text[..299], 1_000_002, 300));
        assert!(!is_whole(&text.replacen('a', "b", 1), 1_000_002, 300));
        assert!(!is_whole(&text, 1_000_003, 300));
    }
}
