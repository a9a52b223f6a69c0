//! Faults of the declared arithmetic and of how residuals are summed.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const PATHS: &[&str] = &["-p", "twinpath-paths", "--lib"];
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
            "crates/paths/src/declared/dots.rs",
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
        name: "replay forgets what the first digits of plain activations leave over",
        edits: &[Replace("crates/paths/src/declared/digits.rs", "*v -= (rounded - ROUND) * scale;", "*v = 0.0;")],
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
            "let inside = residual == 0.0 || residual <= limit * spread[l];",
            "let inside = !(residual > limit * spread[l]);",
        )],
        catcher: Test { target: EVIDENCE, name: "a_row_at_once_is_its_elements_one_by_one" },
        sign: "NaN",
    },
];
