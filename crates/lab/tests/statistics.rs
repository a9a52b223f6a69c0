//! The layer table without a file is the table of a recording.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use twinpath_engine::Model;
use twinpath_formats::Verify;
use twinpath_lab::party::Source;
use twinpath_lab::trace::{Selection, record, statistics};
use twinpath_lab::{Arithmetic, Party, PathName};
use twinpath_paths::simd::Isa;

#[test]
fn statistics_are_those_of_a_recording_of_all_positions() {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../zoo/teacher-q4_k_m.gguf");
    let model = Model::open(&zoo, Verify::All).unwrap();
    // More than one piece of the head.
    let tokens: Vec<u32> = (0..37).map(|i| (i * 53 + 7) % 900).collect();
    let folder = tempfile::tempdir().unwrap();
    for name in ["fused-q8k", "oracle"] {
        let arithmetic = Arithmetic::new(PathName::find(name).unwrap(), Isa::detect());
        let party = Party { label: "m".into(), source: Source::Model(&model, &arithmetic) };
        let file = folder.path().join(format!("{name}.safetensors"));
        let recorded = record(&party, &model, &tokens, Selection::All, &file, &mut |_, _| {}).unwrap();
        let summed = statistics(&party, &tokens, true, &mut |_, _| {}).unwrap();
        assert_eq!((&summed.header, &summed.sites), (&recorded.header, &recorded.sites));
        let unhashed = statistics(&party, &tokens, false, &mut |_, _| {}).unwrap();
        assert!(unhashed.header.provenance.files.iter().all(|f| f.blake3.is_none()));
        assert_eq!(unhashed.sites, recorded.sites);
    }
}
