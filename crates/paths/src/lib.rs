//! Numeric paths: named ways of doing the arithmetic, and their kernels.
//!
//! A path is one file and one line of [`PATHS`]. The bits of its values depend on nothing but its inputs: threads share out
//! whole outputs, a call of many positions does for each what a call of one does, and every kernel has the bits of its
//! portable twin.
#![allow(unsafe_code, reason = "kernels; each block says which fact it rests on")]

mod columns;
pub mod declared;
mod decode;
pub mod f32_ops;
mod fused;
pub mod fused_q8k;
pub mod fused_q8x32;
pub mod limits;
mod lines;
pub mod math;
pub mod memory;
pub mod pieces;
mod q8;
pub mod simd;
pub mod standalone;
pub mod team;
#[cfg(test)]
mod test_values;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use declared::{Declared, Reading};
pub use fused::tiles::Tiles;
pub use fused_q8k::FusedQ8k;
pub use fused_q8x32::FusedQ8x32;
use simd::Isa;
pub use standalone::Standalone;
use twinpath_engine::{Numerics, Op, Site};
use twinpath_formats::TensorType;

/// A way of doing the arithmetic on f32 activations.
pub trait Path: Numerics<Elem = f32> + Send {
    /// What it does with quantised and with F16, BF16 and F32 weights, in a sentence or two.
    fn describe(&self) -> &'static str;
    /// From now on reads these copies of weights, too, where its kernels can and the weights are among them. No bit changes.
    fn adopt(&mut self, _tiles: &Arc<Tiles>) {}
    /// The kernels chosen, for records.
    fn kernels(&self) -> String;
    /// How it reads the activations that meet weights of this type: with it, [`declared`] knows all that it promises.
    fn reading(&self, weights: TensorType) -> Reading;
    /// The path that makes a linear op's value at a position whose input is `x`; `None`: this one. A path that leaves
    /// values to others says here to which, so that each is judged by what its maker declares.
    fn for_row(&self, _site: Site, _op: &Op<'_>, _x: &[f32]) -> Option<&dyn Path> {
        None
    }
}

/// One line of [`PATHS`].
pub struct PathEntry {
    /// The name in reports and on the command line.
    pub name: &'static str,
    /// Makes the path, on kernels of one instruction set.
    pub new: fn(Isa) -> Box<dyn Path>,
}

/// Every path, the reference first.
pub const PATHS: &[PathEntry] = &[
    PathEntry { name: standalone::NAME, new: |isa| Box::new(Standalone::with_isa(isa)) },
    PathEntry { name: fused_q8k::NAME, new: |isa| Box::new(FusedQ8k::with_isa(isa)) },
    PathEntry { name: fused_q8x32::NAME, new: |isa| Box::new(FusedQ8x32::with_isa(isa)) },
];

/// The path with this name, on the widest instruction set of this processor.
pub fn path(name: &str) -> Option<Box<dyn Path>> {
    PATHS.iter().find(|entry| entry.name == name).map(|entry| (entry.new)(Isa::detect()))
}
