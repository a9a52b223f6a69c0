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

/// One change of one file.
pub(crate) enum Edit {
    /// Replaces a text that is there exactly once.
    Replace {
        /// The file, from the repository's root.
        file: &'static str,
        /// The text.
        find: &'static str,
        /// What stands there instead.
        with: &'static str,
    },
    /// Makes a new file of equal lines.
    Create {
        /// The file, from the repository's root.
        file: &'static str,
        /// One line of it.
        line: &'static str,
        /// How many there are.
        lines: usize,
    },
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

const GOLDEN: Catcher = Test { target: FORMATS, name: "every_format_agrees_bit_for_bit_with_an_independent_decoder" };

/// Every fault: at least one for each gate, and one for each test that a claim of the project rests on.
pub(crate) const FAULTS: &[Fault] = &[
    // The gates.
    Fault {
        name: "a file that rustfmt would change",
        edits: &[Replace { file: "crates/evidence/src/lib.rs", find: "    x <= bound\n", with: "  x  <=  bound\n" }],
        catcher: Gate("fmt"),
        sign: "crates/evidence/src/lib.rs",
    },
    Fault {
        name: "an unused variable",
        edits: &[Replace {
            file: "crates/evidence/src/lib.rs",
            find: "    x <= bound\n",
            with: "    let planted = x;\n    x <= bound\n",
        }],
        catcher: Gate("clippy"),
        sign: "unused variable: `planted`",
    },
    Fault {
        name: "an undocumented unsafe block",
        edits: &[Replace {
            file: "crates/paths/src/math.rs",
            find: "#[cfg(test)]\nmod tests {",
            with: "/// Planted.\npub fn planted(x: &f32) -> f32 {\n    unsafe { *std::ptr::from_ref(x) }\n}\n\n#[cfg(test)]\nmod tests {",
        }],
        catcher: Gate("clippy"),
        sign: "unsafe block missing a safety comment",
    },
    Fault {
        name: "a link of the documentation that leads nowhere",
        edits: &[Replace {
            file: "crates/evidence/src/lib.rs",
            find: "/// The one comparison with a bound in this project",
            with: "/// See [`Planted`].\n/// The one comparison with a bound in this project",
        }],
        catcher: Gate("rustdoc"),
        sign: "unresolved link to `Planted`",
    },
    Fault {
        name: "engine depends on paths",
        edits: &[Replace {
            file: "crates/engine/Cargo.toml",
            find: "twinpath-formats.workspace = true\n",
            with: "twinpath-formats.workspace = true\ntwinpath-paths.workspace = true\n",
        }],
        catcher: Gate("edges"),
        sign: "`engine` depends on `paths`",
    },
    Fault {
        name: "report depends on engine",
        edits: &[Replace {
            file: "crates/report/Cargo.toml",
            find: "twinpath-evidence.workspace = true\n",
            with: "twinpath-engine.workspace = true\ntwinpath-evidence.workspace = true\n",
        }],
        catcher: Gate("edges"),
        sign: "`report` depends on `engine`",
    },
    Fault {
        name: "a family that its list does not name",
        edits: &[Replace { file: "crates/engine/src/arch/mod.rs", find: ", &qwen3::Qwen3]", with: "]" }],
        catcher: Gate("lists"),
        sign: "crates/engine/src/arch/qwen3.rs is not in ARCHS",
    },
    Fault {
        name: "a source file of 401 lines",
        edits: &[Create { file: "xtask/src/planted.rs", line: "// planted", lines: 401 }],
        catcher: Gate("size"),
        sign: "xtask/src/planted.rs has 401 lines",
    },
    Fault {
        name: "a path of somebody's machine in a document",
        edits: &[Create { file: "PLANTED.md", line: concat!("See `/wo", "rk/shared/notes.md`."), lines: 1 }],
        catcher: Gate("words"),
        sign: "PLANTED.md:1:",
    },
    Fault {
        name: "NaN is within a bound",
        edits: &[Replace { file: "crates/evidence/src/lib.rs", find: "    x <= bound\n", with: "    !(x > bound)\n" }],
        catcher: Gate("tests"),
        sign: "nan_is_never_within ... FAILED",
    },
    // Records.
    Fault {
        name: "an element that is not a number counts as compared",
        edits: &[Replace {
            file: "crates/evidence/src/drift.rs",
            find: "                continue;\n",
            with: "                self.compared += 1;\n                continue;\n",
        }],
        catcher: Test { target: EVIDENCE, name: "a_non_finite_element_is_counted_and_never_equal" },
        sign: "",
    },
    Fault {
        name: "elements that are missing are not expected",
        edits: &[Replace {
            file: "crates/evidence/src/drift.rs",
            find: "        self.expected += elements;\n",
            with: "        let _ = elements;\n",
        }],
        catcher: Test { target: EVIDENCE, name: "missing_elements_make_it_incomplete" },
        sign: "",
    },
    Fault {
        name: "nothing compared is identical",
        edits: &[Replace {
            file: "crates/evidence/src/drift.rs",
            find: "self.expected > 0 && self.equal == self.expected",
            with: "self.equal == self.expected",
        }],
        catcher: Test { target: EVIDENCE, name: "nothing_compared_is_neither_identical_nor_complete" },
        sign: "",
    },
    // Block formats.
    Fault {
        name: "a block format that its list does not name",
        edits: &[Replace { file: "crates/formats/src/quant/mod.rs", find: "    &q5_1::Q5_1,\n", with: "" }],
        catcher: Test { target: FORMATS, name: "every_file_of_the_folder_is_in_formats" },
        sign: "",
    },
    Fault {
        name: "Q4_K with its nibbles swapped",
        edits: &[Replace {
            file: "crates/formats/src/quant/q4_k.rs",
            find: "(4 * (group % 2))",
            with: "(4 * (1 - group % 2))",
        }],
        catcher: GOLDEN,
        sign: "Q4_K value",
    },
    Fault {
        name: "Q6_K around 31",
        edits: &[Replace { file: "crates/formats/src/quant/q6_k.rs", find: "- 32.0)", with: "- 31.0)" }],
        catcher: GOLDEN,
        sign: "Q6_K value",
    },
    Fault {
        name: "a matrix longer than its shape",
        edits: &[Replace {
            file: "crates/formats/src/matrix.rs",
            find: "if expected != bytes.len() as u128",
            with: "if expected > bytes.len() as u128",
        }],
        catcher: Test { target: FORMATS, name: "truncated_padded_and_partial_rows_are_refused" },
        sign: "",
    },
    // Kernels.
    Fault {
        name: "a dot product's sums are added in another order",
        edits: &[Replace {
            file: "crates/paths/src/simd/dot.rs",
            find: "for width in [8, 4, 2, 1] {\n        for j in 0..width {\n            s[j] += s[j + width];",
            with: "for width in [1, 2, 4, 8] {\n        for j in (0..16).step_by(2 * width) {\n            s[j] += s[j + width];",
        }],
        catcher: Test { target: PATHS, name: "every_tile_of_every_instruction_set_has_the_bits_of_the_plain_order" },
        sign: "",
    },
    Fault {
        name: "the AVX2 dot product rounds its products",
        edits: &[
            Replace {
                file: "crates/paths/src/simd/dot.rs",
                find: "    std::arch::x86_64::_mm256_fmadd_ps\n",
                with: "    super::planted\n",
            },
            Replace {
                file: "crates/paths/src/simd/dot.rs",
                find: "#[inline(always)]\nfn zero() -> Lanes {",
                with: "#[target_feature(enable = \"avx2\")]\nfn planted(\n    a: std::arch::x86_64::__m256,\n    b: \
                       std::arch::x86_64::__m256,\n    c: std::arch::x86_64::__m256,\n) -> std::arch::x86_64::__m256 \
                       {\n    std::arch::x86_64::_mm256_add_ps(std::arch::x86_64::_mm256_mul_ps(a, b), \
                       c)\n}\n\n#[inline(always)]\nfn zero() -> Lanes {",
            },
        ],
        catcher: Test { target: PATHS, name: "every_tile_of_every_instruction_set_has_the_bits_of_the_plain_order" },
        sign: "avx2",
    },
];
