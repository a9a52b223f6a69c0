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
];
