#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memod_protocol_fuzz::bodies::call_message(data));
