//! `cargo sim`: the whole cluster under a seeded simulator.

fn main() {}
