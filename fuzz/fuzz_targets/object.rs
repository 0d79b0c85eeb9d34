#![no_main]

#[path = "../../tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (_, target) = targets::TARGETS.iter().find(|(name, _)| *name == "object").expect("a target");
    target(input);
});
