//! Faults of verdicts beyond replay, and of the page that shows them.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const EVIDENCE: &[&str] = &["-p", "twinpath-evidence", "--lib"];
const STATISTICAL: &[&str] = &["-p", "twinpath-lab", "--test", "statistical"];
const CLI: &[&str] = &["-p", "twinpath", "--test", "cli"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "the layer recursion multiplies gains and forgets what layers add",
        edits: &[Replace(
            "crates/evidence/src/layers.rs",
            "s.fresh.hypot(s.gain.unwrap_or(0.0) * rho)",
            "if rho == 0.0 { s.fresh } else { s.gain.unwrap_or(0.0) * rho }",
        )],
        catcher: Test { target: EVIDENCE, name: "orthogonal_injections_close_and_aligned_ones_do_not" },
        sign: "",
    },
    Fault {
        name: "a residual that is no number is in the first bin",
        edits: &[Replace("crates/evidence/src/histogram.rs", "else { BEYOND as u64 }", "else { 0 }")],
        catcher: Test { target: EVIDENCE, name: "every_residual_is_counted_once_where_it_belongs" },
        sign: "",
    },
    Fault {
        name: "tier E has half the variance",
        edits: &[Replace(
            "crates/lab/src/statistical/moments.rs",
            "products().map(|p| p * p).sum()",
            "products().map(|p| p * p / 2.0).sum()",
        )],
        catcher: Test {
            target: STATISTICAL,
            name: "faithful_outputs_are_convicted_no_more_often_than_stated_and_their_size_is_predicted",
        },
        sign: "",
    },
    Fault {
        name: "rounding without random signs is convicted",
        edits: &[Replace(
            "crates/evidence/src/statistical.rs",
            "(true, true, Some(finding)) =>",
            "(true, _, Some(finding)) =>",
        )],
        catcher: Test {
            target: STATISTICAL,
            name: "faithful_outputs_are_convicted_no_more_often_than_stated_and_their_size_is_predicted",
        },
        sign: "",
    },
    Fault {
        name: "a large token is no doubt",
        edits: &[Replace("crates/lab/src/lockstep.rs", "    warnings.extend(large_token(profiles));\n", "")],
        catcher: Test { target: CLI, name: "the_published_alarm_is_explained_by_one_large_token" },
        sign: "",
    },
    Fault {
        name: "a page replaces a file unasked",
        edits: &[Replace(
            "crates/cli/src/commands/compare.rs",
            "check_output(path, args.force)?;",
            "check_output(path, true)?;",
        )],
        catcher: Test { target: CLI, name: "a_page_is_not_replaced_unasked" },
        sign: "",
    },
];
