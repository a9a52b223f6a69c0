//! Faults of block formats and containers.

use super::Catcher::{self, Test};
use super::Edit::Replace;
use super::Fault;

const FORMATS: &[&str] = &["-p", "twinpath-formats", "--lib"];

/// An integration test of the formats crate.
macro_rules! formats_test {
    ($file:literal, $name:literal) => {
        Test { target: &["-p", "twinpath-formats", "--test", $file], name: $name }
    };
}

const GOLDEN: Catcher = Test { target: FORMATS, name: "every_format_agrees_bit_for_bit_with_an_independent_decoder" };

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "a block format that its list does not name",
        edits: &[Replace("crates/formats/src/quant/mod.rs", "    &q5_1::Q5_1,\n", "")],
        catcher: Test { target: FORMATS, name: "every_file_of_the_folder_is_in_formats" },
        sign: "",
    },
    Fault {
        name: "Q4_K with its nibbles swapped",
        edits: &[Replace("crates/formats/src/quant/q4_k.rs", "(4 * (group % 2))", "(4 * (1 - group % 2))")],
        catcher: GOLDEN,
        sign: "Q4_K value",
    },
    Fault {
        name: "Q6_K around 31",
        edits: &[Replace("crates/formats/src/quant/q6_k.rs", "- 32.0)", "- 31.0)")],
        catcher: GOLDEN,
        sign: "Q6_K value",
    },
    Fault {
        name: "a matrix longer than its shape",
        edits: &[Replace(
            "crates/formats/src/matrix.rs",
            "if expected != bytes.len() as u128",
            "if expected > bytes.len() as u128",
        )],
        catcher: Test { target: FORMATS, name: "truncated_padded_and_partial_rows_are_refused" },
        sign: "",
    },
    Fault {
        name: "the checksum of an .apr file is not verified",
        edits: &[Replace(
            "crates/formats/src/apr/mod.rs",
            "    if found != expected {\n        return Err(Fault::Checksum { what: \"footer\"",
            "    if found != found {\n        return Err(Fault::Checksum { what: \"footer\"",
        )],
        catcher: formats_test!("apr", "any_changed_byte_is_detected"),
        sign: "",
    },
    Fault {
        name: "a tensor may end beyond its file",
        edits: &[Replace(
            "crates/formats/src/container.rs",
            "if end > u128::from(file_len)",
            "if begin > u128::from(file_len)",
        )],
        catcher: formats_test!("truncation", "a_gguf_cut_at_any_byte_is_refused"),
        sign: "",
    },
    Fault {
        name: "a count is believed before the bytes left are",
        edits: &[Replace("crates/formats/src/cursor.rs", "if needed > self.left() {", "if needed == u64::MAX {")],
        catcher: formats_test!("allocations", "huge_counts_allocate_nothing"),
        sign: "",
    },
    Fault {
        name: "two tensors may share bytes",
        edits: &[Replace("crates/formats/src/container.rs", "a.offset + a.len > b.offset", "a.offset > b.offset")],
        catcher: formats_test!("gguf", "overlapping_tensors_are_refused"),
        sign: "",
    },
    Fault {
        name: "an infinite minimum of Q4_K goes unseen",
        edits: &[Replace(
            "crates/formats/src/quant/q4_k.rs",
            "f16_at(block, 0).is_finite() && f16_at(block, 2).is_finite()",
            "f16_at(block, 0).is_finite()",
        )],
        catcher: Test {
            target: FORMATS,
            name: "a_scale_that_is_nan_or_infinite_is_seen_and_codes_are_not_mistaken_for_one",
        },
        sign: "Q4_K missed",
    },
];
