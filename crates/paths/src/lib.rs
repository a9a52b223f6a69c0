//! Numeric paths: named ways of doing the arithmetic, and their kernels.
#![allow(unsafe_code, reason = "kernels; each block says which fact it rests on")]

mod fused;
pub mod fused_q8k;
mod q8;
pub mod simd;
