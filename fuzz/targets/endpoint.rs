#![no_main]

#[path = "../clock.rs"]
mod clock;

libfuzzer_sys::fuzz_target!(init: env_logger::init(), |input: &[u8]| {
    clock::virtual_time(|| mio_quiche::fuzz::endpoint(input, &clock::advance));
});
