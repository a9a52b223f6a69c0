//! Faults of how recordings of other engines are read and judged.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const FOREIGN: &[&str] = &["-p", "twinpath-lab", "--test", "foreign"];
const INTERCHANGE: &[&str] = &["-p", "twinpath-lab", "--test", "interchange"];
const LAB: &[&str] = &["-p", "twinpath-lab", "--lib"];
const PATHS: &[&str] = &["-p", "twinpath-paths", "--lib"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "a missing value is counted for each op that reads it",
        edits: &[Replace(
            "crates/lab/src/compare.rs",
            "expected: sites.len() + missing.len(),",
            "expected: sites.len() + missing.len().max(judged_with.len()),",
        )],
        catcher: Test {
            target: &["-p", "twinpath-lab", "--test", "foreign"],
            name: "a_missing_value_that_two_ops_read_is_counted_once",
        },
        sign: "",
    },
    Fault {
        name: "a recording of another engine convicts nobody",
        edits: &[Replace(
            "crates/lab/src/recorded/hearing.rs",
            "local.add(element, lambda * wider.max(1.0))",
            "local.add(element, f64::INFINITY)",
        )],
        catcher: Test { target: FOREIGN, name: "llama_cpp_with_one_edited_byte_of_one_tensor_is_wrong_at_its_op" },
        sign: "",
    },
    Fault {
        name: "our value goes on in the place of the recorded one",
        edits: &[Replace(
            "crates/lab/src/recorded/mod.rs",
            "judged: Some(judged), ..found });\n        value\n",
            "judged: Some(judged), ..found });\n\
             \x20       let ours = value.data().iter().map(|x| x * 1.001).collect();\n\
             \x20       Tensor::new(value.rows(), value.cols(), ours)\n",
        )],
        catcher: Test { target: FOREIGN, name: "every_site_of_llama_cpp_is_explained_on_the_fused_path" },
        sign: "",
    },
    Fault {
        name: "the projection before its bias is taken for the query",
        edits: &[Replace("crates/lab/src/trace/names/ggml.rs", "u8::from(op == \"ADD\")", "u8::from(op != \"ADD\")")],
        catcher: Test { target: FOREIGN, name: "every_site_of_llama_cpp_is_explained_on_the_fused_path" },
        sign: "",
    },
    Fault {
        name: "an f16 cache is judged as one of f32",
        edits: &[Replace(
            "crates/paths/src/declared/foreign/mod.rs",
            "Kv::F16 => f16::from_f32(x).to_f64(),",
            "Kv::F16 => f64::from(x),",
        )],
        catcher: Test { target: PATHS, name: "a_half_cache_rounds_both_operands" },
        sign: "",
    },
    Fault {
        name: "of what a missing value is uncertain by, RoPE passes on half",
        edits: &[Replace(
            "crates/paths/src/declared/foreign/propagate.rs",
            "(out[a], out[b]) = (c * of_input[a] + s * of_input[b], s * of_input[a] + c * of_input[b]);",
            "(out[a], out[b]) = (c * of_input[a] + 0.0 * s, c * of_input[b]);",
        )],
        catcher: Test { target: PATHS, name: "what_an_input_is_uncertain_by_reaches_no_further_than_propagated" },
        sign: "Rope",
    },
    Fault {
        name: "a recording of one position is compared with another",
        edits: &[Replace(
            "crates/lab/src/cut.rs",
            "let at = kept.start - first..kept.end - first;",
            "let at = 0..kept.len();",
        )],
        catcher: Test {
            target: INTERCHANGE,
            name: "a_recording_of_one_position_is_compared_there_and_judged_where_its_inputs_are",
        },
        sign: "",
    },
    Fault {
        name: "attention over positions that are not recorded is judged",
        edits: &[Replace("crates/lab/src/recorded/mod.rs", "if self.first > 0 &&", "if self.first > 1 << 30 &&")],
        catcher: Test {
            target: INTERCHANGE,
            name: "a_recording_of_one_position_is_compared_there_and_judged_where_its_inputs_are",
        },
        // Without the keys before it, the rows of attention have another length.
        sign: "rows of one site have one length",
    },
    Fault {
        name: "recordings of unequal positions are compared",
        edits: &[Replace("crates/lab/src/party.rs", "if of_a != of_b =>", "if of_a != of_b && tokens == 0 =>")],
        catcher: Test { target: INTERCHANGE, name: "recordings_of_unequal_positions_are_incomparable" },
        sign: "",
    },
    Fault {
        name: "a log-probability that 16 bits do not tell is a value",
        edits: &[Replace("crates/lab/src/trace/import/kl_base.rs", "cut && code == 0", "cut && code == 1")],
        catcher: Test {
            target: INTERCHANGE,
            name: "log_probabilities_of_16_bits_are_compared_with_their_floor_and_never_judged",
        },
        sign: "",
    },
    Fault {
        name: "every dump of the apr tool is of layer 0",
        edits: &[Replace(
            "crates/lab/src/trace/export/aprt.rs",
            "site.layer.unwrap_or(0)",
            "site.layer.map_or(0, |_| 0)",
        )],
        catcher: Test { target: INTERCHANGE, name: "dumps_of_the_apr_tool_are_written_and_read_back" },
        sign: "",
    },
    Fault {
        name: "positions of a table begin at 0 wherever the recording does",
        edits: &[Replace(
            "crates/lab/src/trace/export/parquet.rs",
            "(piece.first + t) as i32",
            "(piece.first * 0 + t) as i32",
        )],
        catcher: Test {
            target: &["-p", "twinpath-lab", "--test", "parquet"],
            name: "a_table_holds_what_the_lines_hold",
        },
        sign: "oracle",
    },
    Fault {
        name: "a missing BOS is no difference",
        edits: &[Replace(
            "crates/lab/src/trace/tokens.rs",
            "    if recorded == wanted {\n",
            "    if recorded == wanted || wanted.ends_with(recorded) {\n",
        )],
        catcher: Test { target: LAB, name: "the_difference_says_what_it_looks_like" },
        sign: "",
    },
];
