//! Values that begin where a line of the cache does.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Values whose first begins a line of the cache: what reads 64 bytes of them at a time reads one line, not parts of two.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lines<T> {
    lines: Vec<Line>,
    len: usize,
    values: PhantomData<T>,
}

/// A line of the cache.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

impl Line {
    pub(crate) const ZERO: Line = Line([0; 64]);

    /// The whole lines in `bytes`.
    pub(crate) fn all(bytes: &[u8]) -> &[Line] {
        // SAFETY: any bytes are a line.
        unsafe { bytes.align_to().1 }
    }

    /// The same, to write.
    pub(crate) fn all_mut(bytes: &mut [u8]) -> &mut [Line] {
        // SAFETY: any bytes are a line, and any line is bytes.
        unsafe { bytes.align_to_mut().1 }
    }
}

/// What every pattern of bits is a value of, in at most 64 bytes, a power of two.
///
/// # Safety
/// It is so.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: a byte.
unsafe impl Plain for i8 {}
// SAFETY: four bytes; some patterns are NaNs, which are values.
unsafe impl Plain for f32 {}

impl<T: Plain> Lines<T> {
    /// As many values of bits zero.
    pub(crate) fn zeros(len: usize) -> Lines<T> {
        const { assert!(64 % size_of::<T>() == 0) };
        Lines { lines: vec![Line::ZERO; len.div_ceil(64 / size_of::<T>())], len, values: PhantomData }
    }

    /// The first `len` values, after there are as many; what they are is not said.
    pub(crate) fn first(&mut self, len: usize) -> &mut [T] {
        if self.len < len {
            *self = Lines::zeros(len);
        }
        &mut self[..len]
    }
}

impl<T: Plain> Deref for Lines<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the lines are adjacent, without gaps, hold at least `len` values, and any bytes are values.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
