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
            "After::Map(f) => mapped(f.as_ref(), value, spread, bound),",
            "After::Map(_) => (value, spread, bound),",
        )],
        catcher: Test { target: DIAGNOSE, name: "mistakes_planted_in_one_site_are_named_there" },
        sign: "softcap",
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
