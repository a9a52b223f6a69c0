//! Faults of records and their judging.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const EVIDENCE: &[&str] = &["-p", "twinpath-evidence", "--lib"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "NaN is within a bound",
        edits: &[Replace("crates/evidence/src/lib.rs", "    x <= bound\n", "    !(x > bound)\n")],
        catcher: Test { target: EVIDENCE, name: "nan_is_never_within" },
        sign: "",
    },
    Fault {
        name: "an element that is not a number counts as compared",
        edits: &[Replace(
            "crates/evidence/src/drift.rs",
            "let compared = lanes::count(&row.compared);",
            "let compared = value.len() as u64;",
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
    Fault {
        name: "a target of speed is held by the better rounds",
        edits: &[Replace("crates/evidence/src/bench.rs", "(crate::within(bound, q1),", "(crate::within(bound, q3),")],
        catcher: Test { target: EVIDENCE, name: "a_target_is_held_only_if_the_quartile_on_its_side_is_within" },
        sign: "",
    },
    Fault {
        name: "a ratio of times is one of rates",
        edits: &[Replace("crates/lab/src/bench/race.rs", "|(of, to)| to / of)", "|(of, to)| of / to)")],
        catcher: Test {
            target: &["-p", "twinpath-lab", "--lib"],
            name: "turns_alternate_and_each_ratio_is_formed_within_a_round",
        },
        sign: "",
    },
    Fault {
        name: "statistics take every value for finite",
        edits: &[Replace(
            "crates/evidence/src/stats.rs",
            "let finite = lanes::total(&sums.sum).is_finite();",
            "let finite = true;",
        )],
        catcher: Test {
            target: &["-p", "twinpath-evidence", "--lib"],
            name: "a_value_that_is_not_finite_costs_the_others_nothing_wherever_it_is",
        },
        sign: "",
    },
    Fault {
        name: "the layer table without a file leaves a position out",
        edits: &[Replace(
            "crates/lab/src/trace/statistics.rs",
            "team::map(values.rows(), of_row)",
            "team::map(values.rows().div_ceil(2), of_row)",
        )],
        catcher: Test {
            target: &["-p", "twinpath-lab", "--test", "statistics"],
            name: "statistics_are_those_of_a_recording_of_all_positions",
        },
        sign: "",
    },
    Fault {
        name: "a record of speed names a folder of the machine",
        edits: &[Replace(
            "crates/lab/src/bench/mod.rs",
            "for file in &mut provenance.files {",
            "for file in &mut [] as &mut [twinpath_evidence::FileId] {",
        )],
        catcher: Test {
            target: &["-p", "twinpath", "--test", "cli"],
            name: "a_quick_look_measures_what_was_asked_for_and_names_no_folder",
        },
        sign: "",
    },
];
