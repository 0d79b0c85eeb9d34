//! A plan that was kept names kinds of workload and their parameters; those of this build are taken, and others refused.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error};

use super::KINDS;
use crate::draw::Draw;

/// A word of ours. (Serde takes a reference that it can see for one into what is read.)
pub type Word = &'static str;

pub fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let name = String::deserialize(deserializer)?;
    let kind = KINDS.iter().find(|kind| kind.name == name);
    kind.map(|kind| kind.name)
        .ok_or_else(|| D::Error::custom(format!("{name:?} is no kind of workload of this build's")))
}

pub fn params<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<&'static str, Draw<u64>>, D::Error> {
    let said = BTreeMap::<String, Draw<u64>>::deserialize(deserializer)?;
    let mut params = BTreeMap::new();
    for (name, draw) in said {
        let param = KINDS
            .iter()
            .flat_map(|kind| kind.params)
            .find(|param| param.name == name);
        let Some(param) = param else {
            return Err(D::Error::custom(format!(
                "no workload of this build's has a parameter {name:?}"
            )));
        };
        params.insert(param.name, draw);
    }
    Ok(params)
}
