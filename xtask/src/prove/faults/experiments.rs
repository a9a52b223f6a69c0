//! Faults of the published figures and of the verdicts of experiments.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const EVIDENCE: &[&str] = &["-p", "twinpath-evidence", "--test", "experiment"];
const EXPERIMENTS: &[&str] = &["-p", "twinpath-lab", "--test", "experiments"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "the published kernel adds the minimums",
        edits: &[Replace(
            "crates/lab/src/experiments/kit/fixture.rs",
            "(x.scale * d, -x.scale * dmin)",
            "(x.scale * d, x.scale * dmin)",
        )],
        catcher: Test {
            target: EXPERIMENTS,
            name: "every_published_figure_that_needs_no_7b_file_comes_out_to_the_bit",
        },
        sign: "",
    },
    Fault {
        name: "an experiment is upheld whatever its controls say",
        edits: &[Replace(
            "crates/evidence/src/experiment.rs",
            "if self.controls_hold() { Verdict::Upheld } else { Verdict::Inconclusive }",
            "Verdict::Upheld",
        )],
        catcher: Test { target: EVIDENCE, name: "without_a_refuted_control_and_an_upheld_one_nothing_is_upheld" },
        sign: "",
    },
];
