#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| whipstaff_fuzz::run("config", bytes));
