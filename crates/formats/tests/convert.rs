//! Conversion keeps bytes and metadata, or refuses.

mod common;

use std::path::Path;

use common::{apr_metadata, every_type, gguf_bytes, llama_plans, zoo};
use twinpath_formats::apr::Apr;
use twinpath_formats::convert::{ConvertReport, Dequantize, Options, convert, to_ggml, to_hf};
use twinpath_formats::gguf::{Gguf, Value};
use twinpath_formats::{Container, Fault, FormatError, TensorPlan, TensorType, Verify, apr, gguf};

fn run(input: &Path, output: &Path) -> Result<ConvertReport, FormatError> {
    convert(input, output, &Options::default(), &mut |_, _| ())
}

/// gguf -> apr -> gguf in `folder`; gives the bytes before and after.
fn there_and_back(folder: &Path, input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let [a, b, c] = ["in.gguf", "mid.apr", "out.gguf"].map(|n| folder.join(n));
    std::fs::write(&a, input).unwrap();
    assert!(run(&a, &b).unwrap().tensors.iter().all(|t| t.kept));
    run(&b, &c).unwrap();
    (input.to_vec(), std::fs::read(&c).unwrap())
}

#[test]
fn the_teacher_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let input = std::fs::read(zoo("teacher-q4_k_m.gguf")).unwrap();
    let (before, after) = there_and_back(folder.path(), &input);
    assert_eq!(before.len(), after.len());
    assert!(before == after, "first difference at {:?}", before.iter().zip(&after).position(|(a, b)| a != b));
}

#[test]
fn the_bundled_apr_holds_the_bytes_of_the_bundled_gguf() {
    let gguf = Gguf::open(&zoo("teacher-q4_k_m.gguf")).unwrap();
    let apr = Apr::open(&zoo("teacher-q4_k_m.apr"), Verify::All).unwrap();
    assert_eq!(apr.warnings(), [] as [&str; 0]);
    assert_eq!(gguf.tensors().len(), apr.tensors().len());
    for entry in gguf.tensors() {
        let twin = apr.tensor(&to_hf(&entry.name)).unwrap();
        assert_eq!((entry.tensor_type, &entry.shape), (twin.tensor_type, &twin.shape), "{}", entry.name);
        assert!(gguf.bytes(entry) == apr.bytes(twin), "{}", entry.name);
    }
    assert_eq!(apr.u64("num_layers").unwrap(), Some(6));
    assert_eq!(apr.f64("rms_norm_eps").unwrap(), Some(1e-6));
    gguf.check_finite().unwrap();
}
