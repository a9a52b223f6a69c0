//! Numeric paths: named ways of doing the arithmetic, and their kernels.
#![allow(unsafe_code, reason = "kernels; each block says which fact it rests on")]

pub mod simd;
