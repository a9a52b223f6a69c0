//! Sixteen f64 side by side, one for each position, on each instruction set. Every operation is IEEE's, lane by lane, so that
//! all give the same bits.

use super::dots::LANES;

/// Sixteen numbers in memory.
pub(super) type Lanes = [f64; LANES];

/// Carries out operations with instructions that the processor has: a value of this type is the proof.
pub(super) trait Wide: Copy {
    /// Sixteen numbers in registers.
    type V: Copy;

    /// `x` in every lane.
    fn splat(self, x: f64) -> Self::V;
    /// From memory.
    fn load(self, from: &Lanes) -> Self::V;
    /// From integers, exactly.
    fn whole(self, from: &[i32; LANES]) -> Self::V;
    /// To memory.
    fn store(self, v: Self::V, to: &mut Lanes);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `|a|`.
    fn abs(self, a: Self::V) -> Self::V;

    /// The sum of all lanes: of those eight apart, four, two and one.
    #[inline(always)]
    fn total(self, a: Self::V) -> f64 {
        let mut sums = [0.0; LANES];
        self.store(a, &mut sums);
        for width in [8, 4, 2, 1] {
            let (low, high) = sums.split_at_mut(width);
            low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        }
        sums[0]
    }
}

/// Code for every processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

/// `f` of each lane.
#[inline(always)]
fn each(f: impl Fn(usize) -> f64) -> Lanes {
    std::array::from_fn(f)
}

impl Wide for Portable {
    type V = Lanes;

    #[inline(always)]
    fn splat(self, x: f64) -> Lanes {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> Lanes {
        *from
    }
    #[inline(always)]
    fn whole(self, from: &[i32; LANES]) -> Lanes {
        each(|l| f64::from(from[l]))
    }
    #[inline(always)]
    fn store(self, v: Lanes, to: &mut Lanes) {
        *to = v;
    }
    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        each(|l| a[l] + b[l])
    }
    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        each(|l| a[l] * b[l])
    }
    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        each(|l| a[l].mul_add(b[l], c[l]))
    }
    #[inline(always)]
    fn abs(self, a: Lanes) -> Lanes {
        each(|l| a[l].abs())
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Avx512;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes, Wide};
    use crate::simd::{Isa, Level};

    /// AVX-512. Its functions are inlined into a caller that is compiled for it.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::declared) struct Avx512(());

    impl Avx512 {
        /// If `isa` has it.
        pub(in crate::declared) fn new(isa: Isa) -> Option<Avx512> {
            (isa.level() >= Level::Avx512).then_some(Avx512(()))
        }
    }

    impl Wide for Avx512 {
        type V = [__m512d; 2];

        #[inline(always)]
        fn splat(self, x: f64) -> Self::V {
            // SAFETY: `self` proves AVX-512.
            [unsafe { _mm512_set1_pd(x) }; 2]
        }
        #[inline(always)]
        fn load(self, from: &Lanes) -> Self::V {
            // SAFETY: sixteen readable f64, of which the second load reads the last eight; `self` proves AVX-512.
            unsafe { [_mm512_loadu_pd(from.as_ptr()), _mm512_loadu_pd(from.as_ptr().add(8))] }
        }
        #[inline(always)]
        fn whole(self, from: &[i32; LANES]) -> Self::V {
            let at = from.as_ptr();
            // SAFETY: sixteen readable i32, of which the second load reads the last eight; `self` proves AVX-512.
            unsafe {
                let halves = [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(8).cast())];
                [_mm512_cvtepi32_pd(halves[0]), _mm512_cvtepi32_pd(halves[1])]
            }
        }
        #[inline(always)]
        fn store(self, v: Self::V, to: &mut Lanes) {
            // SAFETY: sixteen writable f64, of which the second store writes the last eight; `self` proves AVX-512.
            unsafe {
                _mm512_storeu_pd(to.as_mut_ptr(), v[0]);
                _mm512_storeu_pd(to.as_mut_ptr().add(8), v[1]);
            }
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512.
            unsafe { [_mm512_add_pd(a[0], b[0]), _mm512_add_pd(a[1], b[1])] }
        }
        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512.
            unsafe { [_mm512_mul_pd(a[0], b[0]), _mm512_mul_pd(a[1], b[1])] }
        }
        #[inline(always)]
        fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512.
            unsafe { [_mm512_fmadd_pd(a[0], b[0], c[0]), _mm512_fmadd_pd(a[1], b[1], c[1])] }
        }
        #[inline(always)]
        fn abs(self, a: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512.
            unsafe { [_mm512_abs_pd(a[0]), _mm512_abs_pd(a[1])] }
        }
    }
}
