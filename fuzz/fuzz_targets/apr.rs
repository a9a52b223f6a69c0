//! Any bytes are a sound `.apr` model or refused; checksums are off, since they stop nearly every change at the door.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinpath_formats::apr::Apr;
use twinpath_formats::{Container, Verify};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Apr::from_bytes("fuzz.apr", bytes, Verify::None) {
        for entry in model.tensors() {
            assert_eq!(model.bytes(entry).len() as u64, entry.byte_len());
        }
        let _ = model.check_finite();
    }
});
