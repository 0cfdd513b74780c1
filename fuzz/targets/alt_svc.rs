#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mio_quiche::fuzz::alt_svc(input));
