//! Every fault that [`prove`](super::prove) plants: at least one for each gate, and one for each test that a claim of the
//! project rests on.
//!
//! To add one: one [`Fault`] in the file of its area, with the text to find (it must occur exactly once in the file), what stands
//! there instead, and the gate or test that must go red. `cargo xtask prove --only NAME` tries it. The planted code must
//! compile, unless clippy or rustdoc is the catcher.

mod arithmetic;
mod declared;
mod diagnosis;
mod experiments;
mod explain;
mod formats;
mod gates;
mod recordings;
mod records;
mod verdicts;

use Catcher::{Gate, Test};

/// One fault and who must catch it.
pub(crate) struct Fault {
    /// What is wrong once it is planted.
    pub(crate) name: &'static str,
    /// How to plant it.
    pub(crate) edits: &'static [Edit],
    /// Who must catch it.
    pub(crate) catcher: Catcher,
    /// Text that the failure must contain. For a test its own failure is required in any case, so this may be empty.
    pub(crate) sign: &'static str,
}

/// One change of one file, whose path is from the repository's root.
pub(crate) enum Edit {
    /// In this file, replaces this text, which is there exactly once, by that.
    Replace(&'static str, &'static str, &'static str),
    /// Makes this new file of this line, so many times.
    Create(&'static str, &'static str, usize),
}

/// Who catches a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Catcher {
    /// A gate of `cargo xtask check`, by its name.
    Gate(&'static str),
    /// A test.
    Test {
        /// Arguments of `cargo test` that build no more than needed: `&["-p", "twinpath-formats", "--lib"]`.
        target: &'static [&'static str],
        /// The end of its path: the function's name.
        name: &'static str,
    },
}

impl Catcher {
    /// The gate or the test.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Gate(name) | Test { name, .. } => name,
        }
    }
}

/// The faults of every area.
const AREAS: &[&[Fault]] = &[
    gates::FAULTS,
    records::FAULTS,
    formats::FAULTS,
    arithmetic::FAULTS,
    declared::FAULTS,
    diagnosis::FAULTS,
    experiments::FAULTS,
    explain::FAULTS,
    recordings::FAULTS,
    verdicts::FAULTS,
];

/// Every fault.
pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    AREAS.iter().copied().flatten()
}
