//! Runs models along paths, records what they compute and compares it. Nothing here prints.

pub mod bench;
mod beside;
pub mod change;
pub mod compare;
pub mod contract;
mod contrast;
pub mod copy;
mod cut;
pub mod diagnose;
pub mod error;
pub mod experiments;
pub mod explain;
pub mod faults;
pub mod fix;
pub mod generate;
pub mod inspect;
pub mod judge;
mod layers;
mod lockstep;
mod narrow;
pub mod null;
pub mod party;
pub mod policies;
pub mod recorded;
pub mod side;
pub mod spec;
pub mod statistical;
mod sums;
pub mod suspects;
pub mod trace;

pub use compare::{CompareOptions, OracleChoice, compare};
pub use error::LabError;
pub use party::Party;
pub use side::{Arithmetic, Side, Stage, Values};
pub use spec::{ModelSpec, PathName};

/// What a long computation tells its caller: work done and work to do, in one unit.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);
