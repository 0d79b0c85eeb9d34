//! What constants are in this world.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::runtime::Constant;

thread_local! {
    /// A world runs on one thread, and what is looked at after its end was stored by it: the next world clears this.
    static SET: RefCell<BTreeMap<&'static str, u32>> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn constant(constant: &Constant) -> u32 {
    SET.with_borrow(|set| match set.is_empty() {
        true => constant.usual,
        false => set.get(constant.name).copied().unwrap_or(constant.usual),
    })
}

pub(super) fn set(constant: &Constant, value: u32) {
    let Constant { name, usual, least } = *constant;
    assert!(
        (least..=usual).contains(&value),
        "{name} is between {least} and {usual}"
    );
    SET.with_borrow_mut(|set| set.insert(constant.name, value));
}

pub(super) fn clear() {
    SET.with_borrow_mut(BTreeMap::clear);
}
