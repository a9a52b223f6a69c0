//! Every fault that [`prove`](super::prove) plants.
//!
//! To add one: one [`Fault`] in [`FAULTS`], with the text to find (it must occur exactly once in the file), what stands
//! there instead, and the gate or test that must go red. `cargo xtask prove --only NAME` tries it. The planted code must
//! compile, unless clippy or rustdoc is the catcher.

use Catcher::{Gate, Test};
use Edit::{Create, Replace};

/// One fault and who must catch it.
pub(crate) struct Fault {
    /// What is wrong once it is planted.
    pub(crate) name: &'static str,
    /// How to plant it.
    pub(crate) edits: &'static [Edit],
    /// Who must catch it.
    pub(crate) catcher: Catcher,
    /// Text that the failure must contain. For a test its own failure is required in any case, so this may be empty.
    pub(crate) sign: &'static str,
}

/// One change of one file, whose path is from the repository's root.
pub(crate) enum Edit {
    /// In this file, replaces this text, which is there exactly once, by that.
    Replace(&'static str, &'static str, &'static str),
    /// Makes this new file of this line, so many times.
    Create(&'static str, &'static str, usize),
}

/// Who catches a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Catcher {
    /// A gate of `cargo xtask check`, by its name.
    Gate(&'static str),
    /// A test.
    Test {
        /// Arguments of `cargo test` that build no more than needed: `&["-p", "twinpath-formats", "--lib"]`.
        target: &'static [&'static str],
        /// The end of its path: the function's name.
        name: &'static str,
    },
}

impl Catcher {
    /// The gate or the test.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Gate(name) | Test { name, .. } => name,
        }
    }
}

const FORMATS: &[&str] = &["-p", "twinpath-formats", "--lib"];
const EVIDENCE: &[&str] = &["-p", "twinpath-evidence", "--lib"];
const PATHS: &[&str] = &["-p", "twinpath-paths", "--lib"];

const RECORDINGS: &[&str] = &["-p", "twinpath-paths", "--test", "recordings"];

/// An integration test of the formats crate.
macro_rules! formats_test {
    ($file:literal, $name:literal) => {
        Test { target: &["-p", "twinpath-formats", "--test", $file], name: $name }
    };
}

const GOLDEN: Catcher = Test { target: FORMATS, name: "every_format_agrees_bit_for_bit_with_an_independent_decoder" };

/// Every fault: at least one for each gate, and one for each test that a claim of the project rests on.
pub(crate) const FAULTS: &[Fault] = &[
    // The gates.
    Fault {
        name: "a file that rustfmt would change",
        edits: &[Replace("crates/evidence/src/lib.rs", "    x <= bound\n", "  x  <=  bound\n")],
        catcher: Gate("fmt"),
        sign: "crates/evidence/src/lib.rs",
    },
    Fault {
        name: "an unused variable",
        edits: &[Replace("crates/evidence/src/lib.rs", "    x <= bound\n", "    let planted = x;\n    x <= bound\n")],
        catcher: Gate("clippy"),
        sign: "unused variable: `planted`",
    },
    Fault {
        name: "an undocumented unsafe block",
        edits: &[Replace(
            "crates/paths/src/math.rs",
            "#[cfg(test)]\nmod tests {",
            "/// Planted.\npub fn planted(x: &f32) -> f32 {\n    unsafe { *std::ptr::from_ref(x) }\n}\n\n#[cfg(test)]\nmod tests {",
        )],
        catcher: Gate("clippy"),
        sign: "unsafe block missing a safety comment",
    },
    Fault {
        name: "a link of the documentation that leads nowhere",
        edits: &[Replace(
            "crates/evidence/src/lib.rs",
            "/// The one comparison with a bound in this project",
            "/// See [`Planted`].\n/// The one comparison with a bound in this project",
        )],
        catcher: Gate("rustdoc"),
        sign: "unresolved link to `Planted`",
    },
    Fault {
        name: "engine depends on paths",
        edits: &[Replace(
            "crates/engine/Cargo.toml",
            "twinpath-formats.workspace = true\n",
            "twinpath-formats.workspace = true\ntwinpath-paths.workspace = true\n",
        )],
        catcher: Gate("edges"),
        sign: "`engine` depends on `paths`",
    },
    Fault {
        name: "report depends on engine",
        edits: &[Replace(
            "crates/report/Cargo.toml",
            "twinpath-evidence.workspace = true\n",
            "twinpath-engine.workspace = true\ntwinpath-evidence.workspace = true\n",
        )],
        catcher: Gate("edges"),
        sign: "`report` depends on `engine`",
    },
    Fault {
        name: "a family that its list does not name",
        edits: &[Replace("crates/engine/src/arch/mod.rs", ", &qwen3::Qwen3]", "]")],
        catcher: Gate("lists"),
        sign: "crates/engine/src/arch/qwen3.rs is not in ARCHS",
    },
    Fault {
        name: "a source file of 401 lines",
        edits: &[Create("xtask/src/planted.rs", "// planted", 401)],
        catcher: Gate("size"),
        sign: "xtask/src/planted.rs has 401 lines",
    },
    Fault {
        name: "a path of somebody's machine in a document",
        edits: &[Create("PLANTED.md", concat!("See `/wo", "rk/shared/notes.md`."), 1)],
        catcher: Gate("words"),
        sign: "PLANTED.md:1:",
    },
    Fault {
        name: "NaN is within a bound",
        edits: &[Replace("crates/evidence/src/lib.rs", "    x <= bound\n", "    !(x > bound)\n")],
        catcher: Gate("tests"),
        sign: "nan_is_never_within ... FAILED",
    },
    // Records.
    Fault {
        name: "an element that is not a number counts as compared",
        edits: &[Replace(
            "crates/evidence/src/drift.rs",
            "                continue;\n",
            "                self.compared += 1;\n                continue;\n",
        )],
        catcher: Test { target: EVIDENCE, name: "a_non_finite_element_is_counted_and_never_equal" },
        sign: "",
    },
    Fault {
        name: "elements that are missing are not expected",
        edits: &[Replace(
            "crates/evidence/src/drift.rs",
            "        self.expected += elements;\n",
            "        let _ = elements;\n",
        )],
        catcher: Test { target: EVIDENCE, name: "missing_elements_make_it_incomplete" },
        sign: "",
    },
    Fault {
        name: "nothing compared is identical",
        edits: &[Replace(
            "crates/evidence/src/drift.rs",
            "self.expected > 0 && self.equal == self.expected",
            "self.equal == self.expected",
        )],
        catcher: Test { target: EVIDENCE, name: "nothing_compared_is_neither_identical_nor_complete" },
        sign: "",
    },
    // Block formats.
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
    // Kernels.
    Fault {
        name: "a dot product's sums are added in another order",
        edits: &[Replace(
            "crates/paths/src/simd/dot.rs",
            "for width in [8, 4, 2, 1] {\n        for j in 0..width {\n            s[j] += s[j + width];",
            "for width in [1, 2, 4, 8] {\n        for j in (0..16).step_by(2 * width) {\n            s[j] += s[j + width];",
        )],
        catcher: Test { target: PATHS, name: "every_tile_of_every_instruction_set_has_the_bits_of_the_plain_order" },
        sign: "",
    },
    Fault {
        name: "the AVX2 dot product rounds its products",
        edits: &[
            Replace("crates/paths/src/simd/dot.rs", "    std::arch::x86_64::_mm256_fmadd_ps\n", "    super::planted\n"),
            Replace(
                "crates/paths/src/simd/dot.rs",
                "#[inline(always)]\nfn zero() -> Lanes {",
                "#[target_feature(enable = \"avx2\")]\nfn planted(\n    a: std::arch::x86_64::__m256,\n    b: \
                       std::arch::x86_64::__m256,\n    c: std::arch::x86_64::__m256,\n) -> std::arch::x86_64::__m256 \
                       {\n    std::arch::x86_64::_mm256_add_ps(std::arch::x86_64::_mm256_mul_ps(a, b), \
                       c)\n}\n\n#[inline(always)]\nfn zero() -> Lanes {",
            ),
        ],
        catcher: Test { target: PATHS, name: "every_tile_of_every_instruction_set_has_the_bits_of_the_plain_order" },
        sign: "avx2",
    },
    Fault {
        name: "a sum depends on the number of threads",
        edits: &[Replace(
            "crates/paths/src/simd/dot.rs",
            "    let mut s = *sums;\n",
            "    let mut s = *sums;\n    if rayon::current_num_threads() > 1 {\n        s.reverse();\n    }\n",
        )],
        catcher: Test { target: PATHS, name: "ops_without_weight_matrices_have_one_value_also_row_by_row" },
        sign: "on 2 threads",
    },
    Fault {
        name: "the AVX2 integer kernel loses half of the products",
        edits: &[Replace(
            "crates/paths/src/fused/x86.rs",
            "let dot = _mm256_add_epi32(low, high);",
            "let _ = high;\n        let dot = low;",
        )],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "avx2",
    },
    Fault {
        name: "a batch adds its blocks in another order",
        edits: &[Replace(
            "crates/paths/src/fused/row.rs",
            "zip(activations) {\n        F::unpack(s, bytes, &mut block);\n        let factors",
            "zip(activations).rev() {\n        F::unpack(s, bytes, &mut block);\n        let factors",
        )],
        catcher: Test { target: PATHS, name: "a_batch_gives_the_bits_of_its_rows_alone_and_threads_change_nothing" },
        sign: "",
    },
    Fault {
        name: "activations that are not numbers are coded as zeros",
        edits: &[Replace(
            "crates/paths/src/q8.rs",
            "        return f32::NAN;\n    }\n    let max",
            "        return 0.0;\n    }\n    let max",
        )],
        catcher: Test {
            target: PATHS,
            name: "a_non_finite_activation_makes_every_output_of_its_position_nan_and_no_other",
        },
        sign: "",
    },
    // The mathematics, against recordings of other implementations.
    Fault {
        name: "the oracle's RMSNorm without eps",
        edits: &[Replace(
            "crates/engine/src/oracle.rs",
            "(mean_square + eps).sqrt()",
            "(mean_square + 0.0 * eps).sqrt()",
        )],
        catcher: Test { target: RECORDINGS, name: "llama_with_grouped_queries_and_adjacent_pairs" },
        sign: "oracle logits",
    },
    Fault {
        name: "the oracle rotates adjacent pairs where halves are meant",
        edits: &[Replace(
            "crates/engine/src/oracle.rs",
            "Pairing::HalfSplit => (i, i + pairs),",
            "Pairing::HalfSplit => (2 * i, 2 * i + 1 + 0 * pairs),",
        )],
        catcher: Test { target: RECORDINGS, name: "qwen3_with_head_norms" },
        sign: "oracle logits",
    },
    Fault {
        name: "RoPE begins at position 1",
        edits: &[Replace("crates/paths/src/f32_ops/rope.rs", "start + t", "start + t + 1")],
        catcher: Test { target: RECORDINGS, name: "qwen3_with_head_norms" },
        sign: "standalone at",
    },
    Fault {
        name: "the oracle's query heads read the wrong key head",
        edits: &[Replace(
            "crates/engine/src/oracle.rs",
            "let kv = h / (heads / kv_heads);\n            for s in 0..keys",
            "let kv = h % kv_heads;\n            for s in 0..keys",
        )],
        catcher: Test { target: RECORDINGS, name: "llama_with_grouped_queries_and_adjacent_pairs" },
        sign: "oracle logits",
    },
    Fault {
        name: "a sliding window is one key too wide",
        edits: &[Replace("crates/engine/src/op.rs", "end.saturating_sub(w)", "end.saturating_sub(w + 1)")],
        catcher: Test { target: RECORDINGS, name: "mistral_with_sliding_window" },
        sign: "oracle logits",
    },
    Fault {
        name: "YaRN without its factor on cos and sin",
        edits: &[Replace(
            "crates/engine/src/rope.rs",
            "if *factor > 1.0 => 0.1 * libm::log(*factor) + 1.0,",
            "if *factor > 1.0 => 1.0,",
        )],
        catcher: Test { target: RECORDINGS, name: "qwen2_with_yarn" },
        sign: "oracle logits",
    },
    // Containers.
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
