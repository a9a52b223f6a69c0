//! Faults of attribution, of policies and of the judging of fixes.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const EVIDENCE: &[&str] = &["-p", "twinpath-evidence", "--lib"];
const EXPLAIN: &[&str] = &["-p", "twinpath-lab", "--test", "explain"];
const FIX: &[&str] = &["-p", "twinpath-lab", "--test", "fix"];
const WEIGHTS: &[&str] = &["-p", "twinpath-lab", "--test", "weights"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "the unexplained part of a site is left in it",
        edits: &[Replace(
            "crates/lab/src/explain/chain.rs",
            "let [without, with] = [Some(&part), None].map(|less| {",
            "let [without, with] = [None, None].map(|less: Option<&T64>| {\n                let _ = &part;",
        )],
        catcher: Test { target: EXPLAIN, name: "the_unexplained_part_is_found_in_a_closed_layer_and_on_either_side" },
        sign: "",
    },
    Fault {
        name: "an order of switching forgets its first group",
        edits: &[Replace(
            "crates/lab/src/explain/chain.rs",
            "        for group in order {\n",
            "        for group in order.iter().skip(1) {\n",
        )],
        catcher: Test { target: EXPLAIN, name: "shares_sum_to_the_total_in_every_order" },
        sign: "sums to",
    },
    Fault {
        name: "a step starts from the stream before the one that was known",
        edits: &[Replace(
            "crates/lab/src/explain/chain.rs",
            "                last = None;\n                continue;\n",
            "                continue;\n",
        )],
        catcher: Test { target: EXPLAIN, name: "steps_telescope_across_layers_that_are_not_opened" },
        sign: "sums to",
    },
    Fault {
        name: "other weights are judged as if they were A's",
        edits: &[Replace(
            "crates/lab/src/explain/parts.rs",
            "self.weights.map_or(*op, |model| swapped(model, site, op))",
            "self.weights.map_or(*op, |_| *op)",
        )],
        catcher: Test { target: WEIGHTS, name: "changed_tensors_are_named_and_the_first_is_worth_most" },
        sign: "",
    },
    Fault {
        name: "rows of a mixed policy are judged by its last rule",
        edits: &[Replace(
            "crates/lab/src/judge.rs",
            "path.for_row(site, op, x.row(t)).unwrap_or(path)",
            "path.for_row(site, op, x.row(t)).map_or(path, |_| path)",
        )],
        catcher: Test {
            target: FIX,
            name: "a_mixed_policy_is_explained_row_by_row_and_has_the_bits_of_the_path_of_each_row",
        },
        sign: "",
    },
    Fault {
        name: "a fix is not tried on held-out input",
        edits: &[Replace(
            "crates/evidence/src/fix.rs",
            "seen.unexplained.union(&held_out.unexplained)",
            "seen.unexplained.union(&seen.unexplained)",
        )],
        catcher: Test { target: EVIDENCE, name: "a_fault_on_held_out_input_alone_is_not_closed" },
        sign: "",
    },
    Fault {
        name: "a gap that is hidden counts as open",
        edits: &[Replace(
            "crates/evidence/src/fix.rs",
            "if seen.is_gone(before) && held_out.is_gone(before) {",
            "if seen.is_gone(before) && before.prompts == 0 {",
        )],
        catcher: Test { target: EVIDENCE, name: "what_is_left_says_whether_a_gap_is_closed_moved_or_hidden" },
        sign: "",
    },
    Fault {
        name: "a scale that two elements share counts as set by one",
        edits: &[Replace("crates/evidence/src/massive.rs", "first > 0.0 && near <= 1", "first > 0.0 && near <= 2")],
        catcher: Test { target: EVIDENCE, name: "one_element_sets_a_scale_from_four_times_the_next_on" },
        sign: "",
    },
];
