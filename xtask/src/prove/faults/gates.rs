//! Faults that a gate of `cargo xtask check` must catch.

use super::Catcher::Gate;
use super::Edit::{Create, Replace};
use super::Fault;

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "a file that rustfmt would change",
        edits: &[Replace("crates/evidence/src/lib.rs", "    x <= bound\n", "  x  <=  bound\n")],
        catcher: Gate("fmt"),
        sign: "crates/evidence/src/lib.rs",
    },
    Fault {
        name: "an unused variable",
        edits: &[Replace("crates/evidence/src/lib.rs", "    x <= bound\n", "    let planted = x;\n    x <= bound\n")],
        catcher: Gate("clippy"),
        sign: "unused variable: `planted`",
    },
    Fault {
        name: "an undocumented unsafe block",
        edits: &[Replace(
            "crates/paths/src/math.rs",
            "#[cfg(test)]\nmod tests {",
            "/// Planted.\npub fn planted(x: &f32) -> f32 {\n    unsafe { *std::ptr::from_ref(x) }\n}\n\n#[cfg(test)]\nmod tests {",
        )],
        catcher: Gate("clippy"),
        sign: "unsafe block missing a safety comment",
    },
    Fault {
        name: "a link of the documentation that leads nowhere",
        edits: &[Replace(
            "crates/evidence/src/lib.rs",
            "/// The one comparison with a bound in this project",
            "/// See [`Planted`].\n/// The one comparison with a bound in this project",
        )],
        catcher: Gate("rustdoc"),
        sign: "unresolved link to `Planted`",
    },
    Fault {
        name: "engine depends on paths",
        edits: &[Replace(
            "crates/engine/Cargo.toml",
            "twinpath-formats.workspace = true\n",
            "twinpath-formats.workspace = true\ntwinpath-paths.workspace = true\n",
        )],
        catcher: Gate("edges"),
        sign: "`engine` depends on `paths`",
    },
    Fault {
        name: "report depends on engine",
        edits: &[Replace(
            "crates/report/Cargo.toml",
            "twinpath-evidence.workspace = true\n",
            "twinpath-engine.workspace = true\ntwinpath-evidence.workspace = true\n",
        )],
        catcher: Gate("edges"),
        sign: "`report` depends on `engine`",
    },
    Fault {
        name: "a family that its list does not name",
        edits: &[Replace("crates/engine/src/arch/mod.rs", ", &qwen3::Qwen3]", "]")],
        catcher: Gate("lists"),
        sign: "crates/engine/src/arch/qwen3.rs is not in ARCHS",
    },
    Fault {
        name: "a source file of 401 lines",
        edits: &[Create("xtask/src/planted.rs", "// planted", 401)],
        catcher: Gate("size"),
        sign: "xtask/src/planted.rs has 401 lines",
    },
    Fault {
        name: "a path of somebody's machine in a document",
        edits: &[Create("PLANTED.md", concat!("See `/wo", "rk/shared/notes.md`."), 1)],
        catcher: Gate("words"),
        sign: "PLANTED.md:1:",
    },
    Fault {
        name: "a budget of lines that nothing is above",
        edits: &[Replace(
            "xtask/src/check/size.rs",
            "|(file, lines)| *lines > BUDGET &&",
            "|(file, lines)| *lines > 9999 &&",
        )],
        catcher: Gate("tests"),
        sign: "only_a_file_above_the_budget_without_a_reason_is_too_long ... FAILED",
    },
];
