//! Sixteen f64 side by side, one for each position, on each instruction set. Every operation is IEEE's, lane by lane, so that
//! all give the same bits.

use std::ops::{Deref, DerefMut};

use super::dots::LANES;

/// Something that begins where a line of the cache does: a vector of 64 bytes that lies across two is read twice.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Aligned<T>(pub(super) T);

impl<T> Deref for Aligned<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Sixteen numbers in memory.
pub(super) type Lanes = Aligned<[f64; LANES]>;

/// Sixteen zeros.
pub(super) const ZEROS: Lanes = Aligned([0.0; LANES]);

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
    /// `low + 128 high` of integers, exactly, as far as `i32` holds it.
    fn joined(self, parts: [&[i32; LANES]; 2]) -> Self::V;
    /// `low + 128 middle + 2¹⁴ high` of integers, exactly, if `i32` holds it.
    fn joined_twice(self, parts: [&[i32; LANES]; 3]) -> Self::V;
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
    /// `√a`.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// Asks for what lies there to be brought to the cache; nothing, where it cannot be asked.
    fn fetch<T>(self, from: *const T, count: usize);

    /// The sum of all lanes: of those eight apart, four, two and one.
    #[inline(always)]
    fn total(self, a: Self::V) -> f64 {
        let mut sums = ZEROS;
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
    Aligned(std::array::from_fn(f))
}

impl Wide for Portable {
    type V = Lanes;

    #[inline(always)]
    fn splat(self, x: f64) -> Lanes {
        Aligned([x; LANES])
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
    fn joined(self, [low, high]: [&[i32; LANES]; 2]) -> Lanes {
        each(|l| f64::from(low[l].wrapping_add(high[l] << 7)))
    }
    #[inline(always)]
    fn joined_twice(self, [low, middle, high]: [&[i32; LANES]; 3]) -> Lanes {
        each(|l| f64::from(low[l].wrapping_add(middle[l] << 7).wrapping_add(high[l] << 14)))
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
    #[inline(always)]
    fn sqrt(self, a: Lanes) -> Lanes {
        each(|l| a[l].sqrt())
    }
    #[inline(always)]
    fn fetch<T>(self, _: *const T, _: usize) {}
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Avx512;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes, Wide};
    use crate::simd::fetch::{Cache, fetch};
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

    /// Sixteen integers as numbers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn widened(x: __m512i) -> [__m512d; 2] {
        let halves = [_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x)];
        halves.map(|half| _mm512_cvtepi32_pd(half))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn total(a: [__m512d; 2]) -> f64 {
        let eight = _mm512_add_pd(a[0], a[1]);
        let four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd::<1>(eight));
        let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
        _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
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
            // SAFETY: sixteen readable i32; `self` proves AVX-512.
            unsafe { widened(_mm512_loadu_si512(from.as_ptr().cast())) }
        }
        #[inline(always)]
        fn joined(self, parts: [&[i32; LANES]; 2]) -> Self::V {
            // SAFETY: sixteen readable i32 each; `self` proves AVX-512.
            unsafe {
                let [low, high] = parts.map(|part| _mm512_loadu_si512(part.as_ptr().cast()));
                widened(_mm512_add_epi32(low, _mm512_slli_epi32::<7>(high)))
            }
        }
        #[inline(always)]
        fn joined_twice(self, parts: [&[i32; LANES]; 3]) -> Self::V {
            // SAFETY: sixteen readable i32 each; `self` proves AVX-512.
            unsafe {
                let [low, middle, high] = parts.map(|part| _mm512_loadu_si512(part.as_ptr().cast()));
                let above = _mm512_add_epi32(_mm512_slli_epi32::<7>(middle), _mm512_slli_epi32::<14>(high));
                widened(_mm512_add_epi32(low, above))
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
        #[inline(always)]
        fn sqrt(self, a: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512.
            unsafe { [_mm512_sqrt_pd(a[0]), _mm512_sqrt_pd(a[1])] }
        }
        #[inline(always)]
        fn fetch<T>(self, from: *const T, count: usize) {
            fetch(Cache::First, from, count);
        }
        #[inline(always)]
        fn total(self, a: Self::V) -> f64 {
            // SAFETY: `self` proves AVX-512.
            unsafe { total(a) }
        }
    }
}
