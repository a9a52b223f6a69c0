//! Damaged files, thousands of them from a fixed seed: each is read or refused, none makes a reader panic.
//!
//! The bounded, repeatable companion of the targets in `fuzz/`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{apr_bytes, apr_metadata, apr_plans, every_type, gguf_bytes, llama_plans, safetensors_bytes, zoo};
use twinpath_formats::apr::Apr;
use twinpath_formats::convert::{Dequantize, Options, convert};
use twinpath_formats::gguf::Gguf;
use twinpath_formats::hf::HfFolder;
use twinpath_formats::{Container, Verify};

/// SplitMix64 (Steele, Lea and Flood 2014): the same damage on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Damages `bytes` in one to four places within the first `reach`.
fn damage(bytes: &[u8], reach: usize, random: &mut Random) -> Vec<u8> {
    const NASTY: [u64; 10] = [0, 1, 2, 31, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX, u64::MAX - 31];
    let mut out = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(reach.min(out.len()).max(1));
        match random.below(7) {
            0 => out[at] ^= 1 << random.below(8),
            1 => out[at] = [0, 0xff, 0x7f, 0x80, b'"', b'{'][random.below(6)],
            2 => out[at] = out[at].wrapping_add(1),
            3 | 4 => {
                let width = [4, 8][random.below(2)];
                let nasty = NASTY[random.below(NASTY.len())].to_le_bytes();
                for (to, from) in out[at..].iter_mut().zip(&nasty[..width]) {
                    *to = *from;
                }
            }
            5 => {
                let end = (at + 1 + random.below(16)).min(out.len());
                out.drain(at..end);
            }
            _ => {
                let end = (at + 1 + random.below(16)).min(out.len());
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
        }
        if out.is_empty() {
            break;
        }
    }
    out
}

/// Looks at everything that a model offers.
fn use_all(model: &dyn Container) {
    for entry in model.tensors() {
        assert_eq!(model.bytes(entry).len() as u64, entry.byte_len());
        if let Ok(matrix) = model.matrix(&entry.name) {
            let mut row = vec![0.0; matrix.cols()];
            matrix.decode_row(matrix.rows() - 1, &mut row);
        }
    }
    let _ = model.check_finite();
}

/// Damages a sound file `rounds` times; gives how many were still read, to show that both outcomes occur.
fn torture(bytes: &[u8], reach: usize, rounds: usize, seed: u64, read: impl Fn(Vec<u8>) -> bool) {
    assert!(read(bytes.to_vec()), "the sound file is read");
    let mut random = Random(seed);
    let accepted = (0..rounds).filter(|_| read(damage(bytes, reach, &mut random))).count();
    assert!(accepted > 0 && accepted < rounds, "{accepted} of {rounds} accepted: the damage is too weak or too strong");
}

fn gguf(bytes: Vec<u8>) -> bool {
    Gguf::from_bytes("damaged.gguf", bytes).is_ok_and(|model| {
        model.metadata().iter().for_each(|(key, _)| drop((model.u64(key), model.str(key), model.array(key))));
        use_all(&model);
        true
    })
}

fn apr(bytes: Vec<u8>) -> bool {
    // Checksums off: they would stop nearly every change at the door.
    Apr::from_bytes("damaged.apr", bytes, Verify::None).is_ok_and(|model| {
        use_all(&model);
        true
    })
}

#[test]
fn damaged_gguf_files() {
    let bytes = gguf_bytes(&every_type(), &llama_plans());
    torture(&bytes, bytes.len(), 20_000, 1, gguf);
    let teacher = std::fs::read(zoo("teacher-q4_k_m.gguf")).unwrap();
    torture(&teacher, 130_000, 100, 2, gguf);
    torture(&teacher, 1500, 100, 3, gguf);
}

#[test]
fn damaged_apr_files() {
    let bytes = apr_bytes(&apr_metadata(), &apr_plans());
    torture(&bytes, bytes.len(), 20_000, 4, apr);
    let teacher = std::fs::read(zoo("teacher-q4_k_m.apr")).unwrap();
    torture(&teacher, 150_000, 100, 5, apr);
}

#[test]
fn damaged_safetensors_files() {
    let header = r#"{"__metadata__":{"format":"pt"},"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"y":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"#;
    let bytes = safetensors_bytes(header, &[0; 32]);
    torture(&bytes, bytes.len(), 20_000, 6, |bytes| {
        HfFolder::from_parts("damaged", b"{}", bytes).is_ok_and(|model| {
            use_all(&model);
            true
        })
    });
}

#[test]
fn damaged_files_are_converted_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [gguf, apr] = ["damaged.gguf", "damaged.apr"].map(|n| folder.path().join(n));
    let options = Options { dequantize: Some(Dequantize::F16), verify: Verify::None };
    let [from_gguf, from_apr] = ["from_gguf.apr", "from_apr.gguf"].map(|n| folder.path().join(n));
    let sound = gguf_bytes(&every_type(), &llama_plans());
    torture(&sound, sound.len(), 200, 7, |bytes| {
        std::fs::write(&gguf, bytes).unwrap();
        convert(&gguf, &from_gguf, &options, &mut |_, _| ()).is_ok()
    });
    std::fs::write(&gguf, &sound).unwrap();
    convert(&gguf, &from_gguf, &options, &mut |_, _| ()).unwrap();
    let sound = std::fs::read(&from_gguf).unwrap();
    torture(&sound, sound.len(), 200, 8, |bytes| {
        std::fs::write(&apr, bytes).unwrap();
        convert(&apr, &from_apr, &options, &mut |_, _| ()).is_ok()
    });
}
