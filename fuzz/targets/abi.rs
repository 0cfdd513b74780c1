#![no_main]

#[path = "../abi.rs"]
mod abi;

libfuzzer_sys::fuzz_target!(|input: &[u8]| abi::run(input));
