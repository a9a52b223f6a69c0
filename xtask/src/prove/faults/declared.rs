//! Faults of the declared arithmetic and of how residuals are summed.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const PATHS: &[&str] = &["-p", "twinpath-paths", "--lib"];
const COMPARE: &[&str] = &["-p", "twinpath-lab", "--test", "compare"];
const EVIDENCE: &[&str] = &["-p", "twinpath-evidence", "--lib"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "replay reads the high minimums of Q4_K without their upper bits",
        edits: &[Replace(
            "crates/paths/src/declared/whole.rs",
            "low >> 4 & 0x0f0f_0f0f | high(second)",
            "low >> 4 & 0x0f0f_0f0f",
        )],
        catcher: Test { target: PATHS, name: "whole_numbers_make_the_weights_exactly" },
        sign: "minimum",
    },
    Fault {
        name: "the exact dot products of replay meet columns one pair off on VNNI",
        edits: &[Replace(
            "crates/paths/src/declared/dots/x86.rs",
            "w[r].as_ptr().cast::<i32>().add(from + i)",
            "w[r].as_ptr().cast::<i32>().add(from + (i ^ 1))",
        )],
        catcher: Test {
            target: PATHS,
            name: "integer_dots_are_the_same_on_every_instruction_set_up_to_the_largest_sums",
        },
        sign: "avx512vnni",
    },
    Fault {
        name: "the exact dot products of replay count the high parts of digits for half on AMX",
        edits: &[Replace(
            "crates/paths/src/declared/lanes.rs",
            "_mm512_slli_epi32::<14>(high)",
            "_mm512_slli_epi32::<13>(high)",
        )],
        catcher: Test {
            target: PATHS,
            name: "declared_values_have_the_same_bits_on_every_instruction_set_and_for_any_number_of_threads",
        },
        sign: "amx",
    },
    Fault {
        name: "the exact dot products of replay meet the low parts of the upper rows twice on AMX",
        edits: &[Replace(
            "crates/paths/src/declared/dots/x86.rs",
            "weights::<4>(tiles, &w.high, 1, from);",
            "weights::<4>(tiles, &w.low, 1, from);",
        )],
        catcher: Test {
            target: PATHS,
            name: "integer_dots_are_the_same_on_every_instruction_set_up_to_the_largest_sums",
        },
        sign: "amx",
    },
    Fault {
        name: "the exact dot products of replay meet the low parts of digits with all weights on AMX",
        edits: &[Replace(
            "crates/paths/src/declared/dots/x86.rs",
            "digits::<6>(tiles, high);",
            "digits::<6>(tiles, low);",
        )],
        catcher: Test {
            target: PATHS,
            name: "integer_dots_are_the_same_on_every_instruction_set_up_to_the_largest_sums",
        },
        sign: "amx",
    },
    Fault {
        name: "the squares of weights count every second eight columns on AVX-512",
        edits: &[Replace(
            "crates/paths/src/declared/dots/x86.rs",
            "_mm512_dpwssd_epi32(_mm512_dpwssd_epi32(zero, a, a), b, b)",
            "_mm512_dpwssd_epi32(zero, a, a)",
        )],
        catcher: Test { target: PATHS, name: "moments_are_the_same_on_every_instruction_set" },
        sign: "avx512",
    },
    Fault {
        name: "what two sides of one model make is judged by the arithmetic of the second alone",
        edits: &[Replace("crates/lab/src/beside.rs", "both([&first, replay], [", "both([replay, replay], [")],
        catcher: Test { target: COMPARE, name: "sides_of_one_model_are_judged_together_as_they_are_apart" },
        sign: "standalone",
    },
    Fault {
        name: "the norms of a profile leave out what is beyond the last eight values",
        edits: &[Replace(
            "crates/evidence/src/lanes.rs",
            "        f(&filled(last_x, 0.0), &filled(last_y, 0.0));\n",
            "",
        )],
        catcher: Test { target: EVIDENCE, name: "norms_are_of_whole_rows" },
        sign: "norms_are_of_whole_rows",
    },
    Fault {
        name: "replay forgets what the first digits of plain activations leave over",
        edits: &[Replace(
            "crates/paths/src/declared/digits.rs",
            "v[l] -= (rounded - ROUND) * scale[l];",
            "v[l] = 0.0;",
        )],
        catcher: Test {
            target: PATHS,
            name: "whole_numbers_give_the_sums_of_f64_for_every_format_and_set_of_readings",
        },
        sign: "Plain",
    },
    Fault {
        name: "a row of residuals takes one that is no number for none",
        edits: &[Replace(
            "crates/evidence/src/residuals.rs",
            "let inside = residual[l] == 0.0 || residual[l] <= limit * spread[l];",
            "let inside = !(residual[l] > limit * spread[l]);",
        )],
        catcher: Test { target: EVIDENCE, name: "a_row_at_once_is_its_elements_one_by_one" },
        sign: "NaN",
    },
];
