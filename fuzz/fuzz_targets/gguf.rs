//! Any bytes are a sound GGUF model or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinpath_formats::Container;
use twinpath_formats::gguf::Gguf;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Gguf::from_bytes("fuzz.gguf", bytes) {
        for entry in model.tensors() {
            assert_eq!(model.bytes(entry).len() as u64, entry.byte_len());
        }
        let _ = model.check_finite();
    }
});
