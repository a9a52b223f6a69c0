//! Huge counts in a small file allocate nothing.
//!
//! The kernel's own figure for the address space is read before and after, so that memory which is reserved and never
//! touched counts too. One test, so that no other thread allocates meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

mod common;

use std::hint::black_box;

use common::{safetensors_bytes, zoo};
use twinpath_formats::apr::Apr;
use twinpath_formats::gguf::Gguf;
use twinpath_formats::hf::HfFolder;
use twinpath_formats::map::Bytes;
use twinpath_formats::{Container, Verify};

/// Largest address space so far (`VmPeak`) or the present one (`VmSize`), in bytes.
fn address_space(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// A GGUF beginning with these 64-bit fields after magic and version, and then `tail`.
fn gguf(fields: &[u64], tail: &[u8]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    fields.iter().for_each(|f| out.extend(f.to_le_bytes()));
    out.extend(tail);
    out
}

/// One key `k` that is an array of `count` elements of type `code`.
fn array(code: u32, count: u64) -> Vec<u8> {
    let (code, count) = (code.to_le_bytes(), count.to_le_bytes());
    gguf(&[0, 1, 1], &[&b"k"[..], &9u32.to_le_bytes(), &code, &count, &[0; 64]].concat())
}

#[test]
fn huge_counts_allocate_nothing() {
    /// Below what any of the counts would take, above what error messages and the arena of malloc do.
    const SLACK: u64 = 8 << 20;
    let mut attacks = Vec::new();
    for huge in [1u64 << 63, u64::MAX, 1 << 40, (1 << 24) - 1] {
        attacks.push(gguf(&[huge, 0], &[0; 64]));
        attacks.push(gguf(&[0, huge], &[0; 64]));
        attacks.push(gguf(&[0, 1, huge], &[0; 64]));
        attacks.push(gguf(&[1, 0, huge], &[0; 64]));
        attacks.extend((0..13).map(|code| array(code, huge)));
        let text = [&b"k"[..], &8u32.to_le_bytes(), &huge.to_le_bytes(), &[0; 64]].concat();
        attacks.push(gguf(&[0, 1, 1], &text));
    }
    let apr = std::fs::read(zoo("teacher-q4_k_m.apr")).unwrap();
    let (mut many_tensors, mut much_metadata) = (apr.clone(), apr);
    many_tensors[8..12].copy_from_slice(&((1u32 << 17) - 1).to_le_bytes());
    much_metadata[20..24].copy_from_slice(&((1u32 << 26) - 1).to_le_bytes());
    let long_header = [&(1u64 << 63).to_le_bytes()[..], &[b'{'; 64]].concat();
    let large_header = [&(99_000_000u64).to_le_bytes()[..], &[b'{'; 64]].concat();
    let shape =
        safetensors_bytes(r#"{"x":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}}"#, &[0; 4]);
    // As `Bytes`, which are shared with the readers: freeing one would make room below the peak.
    let gguf_attacks: Vec<Bytes> = attacks.into_iter().map(Bytes::from).collect();
    let apr_attacks = [many_tensors, much_metadata].map(Bytes::from);
    let hf_attacks = [long_header, large_header, shape].map(Bytes::from);

    // The peak rises with the next byte only once the present size has reached it.
    let below = (address_space("VmPeak") - address_space("VmSize")) as usize;
    let ballast = black_box(Vec::<u8>::with_capacity(below + (1 << 20)));
    let before = address_space("VmPeak");
    for attack in &gguf_attacks {
        assert!(Gguf::from_bytes("attack.gguf", attack.clone()).is_err());
    }
    for attack in &apr_attacks {
        assert!(Apr::from_bytes("attack.apr", attack.clone(), Verify::None).is_err());
    }
    for attack in &hf_attacks {
        assert!(HfFolder::from_parts("attack", b"{}", attack.clone()).is_err());
    }
    let grown = address_space("VmPeak") - before;
    assert!(grown < SLACK, "address space grew by {grown} bytes");

    let reserved = black_box(Vec::<u8>::with_capacity(2 * SLACK as usize));
    assert!(address_space("VmPeak") - before > SLACK, "the measure sees memory that is reserved and not touched");
    drop((ballast, reserved));
    assert!(Gguf::open(&zoo("teacher-q4_k_m.gguf")).unwrap().tensors().len() > 1);
}
