#![no_main]

#[path = "../../tests/fuzz/targets.rs"]
#[allow(dead_code, reason = "each program runs one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (_, target) = targets::TARGETS.iter().find(|(name, _)| *name == "store").expect("a target");
    target(input);
});
