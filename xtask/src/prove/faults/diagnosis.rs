//! Faults of the diagnosis.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const DIAGNOSE: &[&str] = &["-p", "twinpath-lab", "--test", "diagnose"];
const FAULTS_OF_ENGINES: &[&str] = &["-p", "twinpath-lab", "--test", "faults"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "every suspect explains",
        edits: &[Replace(
            "crates/lab/src/diagnose/follow.rs",
            "let explains = !matches!(",
            "let explains = suspect < 1 || !matches!(",
        )],
        catcher: Test { target: DIAGNOSE, name: "mistakes_planted_in_one_site_are_named_there" },
        sign: "bos",
    },
    Fault {
        name: "a suspect's change is planted but not judged",
        edits: &[Replace(
            "crates/lab/src/change.rs",
            "let (made, spread, bound) = mapped(f.as_ref(), value, spread, bound);",
            "let made = value;",
        )],
        catcher: Test { target: DIAGNOSE, name: "mistakes_planted_in_one_site_are_named_there" },
        sign: "softcap",
    },
    Fault {
        name: "another engine is judged by our order of additions",
        edits: &[Replace(
            "crates/lab/src/diagnose/mod.rs",
            "b.trace().and_then(Trace::engine);",
            "b.trace().and_then(Trace::engine).filter(|_| false);",
        )],
        catcher: Test { target: DIAGNOSE, name: "faithful_engines_are_blamed_for_nothing" },
        sign: "llama_cpp",
    },
    Fault {
        name: "a byte is searched for as if activations were not coded",
        edits: &[Replace(
            "crates/lab/src/suspects/stored_bytes.rs",
            "blame::byte(weight, found.reading, *row, &seen)",
            "blame::byte(weight, twinpath_paths::Reading::Plain, *row, &seen)",
        )],
        catcher: Test { target: DIAGNOSE, name: "mistakes_planted_in_one_site_are_named_there" },
        sign: "stored-bytes",
    },
    Fault {
        name: "a mistake in a value that is not recorded is not looked for",
        edits: &[Replace(
            "crates/lab/src/diagnose/follow.rs",
            "if let Op::Silu = op {",
            "if let (Op::Silu, false) = (op, true) {",
        )],
        catcher: Test {
            target: DIAGNOSE,
            name: "a_mistake_in_a_value_that_an_engine_does_not_show_is_named_where_it_shows",
        },
        sign: "activation",
    },
    Fault {
        name: "another layout is a mistake",
        edits: &[Replace("crates/lab/src/diagnose/name.rs", "\"norm-order\" if", "\"norm-order\" if false &&")],
        catcher: Test {
            target: FAULTS_OF_ENGINES,
            name: "a_short_run_finds_names_and_blames_nothing_and_a_seed_gives_the_same_bytes",
        },
        sign: "false positives",
    },
];
