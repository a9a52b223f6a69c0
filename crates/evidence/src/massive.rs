//! Massive activations: a value so large that the code of its block has no room for the others.
//!
//! Activations coded in 8 bits share one scale per block (256 values in Q8_K). Where one element sets that scale alone, the
//! others are coded as coarsely as it is large: the error of the block is that of its neighbours being crushed.

use serde::{Deserialize, Serialize};

use crate::Warning;
use crate::lanes::{self, Value};

/// Values that share a scale in Q8_K.
pub const BLOCK: usize = 256;
/// One element sets a scale alone when its magnitude is this many times the next one's: all others then lose two bits.
pub const SOLE: f64 = 4.0;

/// The largest value of one position at one site.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Token position.
    pub position: usize,
    /// Channel.
    pub channel: usize,
    /// The value.
    pub value: f64,
    /// Its magnitude over the median one of the row; absent where that is 0.
    pub times_median: Option<f64>,
    /// Blocks of the row whose scale one element sets.
    pub sole_blocks: usize,
    /// Blocks of the row.
    pub blocks: usize,
}

/// The largest value of each position at one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// Text form of the site.
    pub site: String,
    /// One for each position.
    pub peaks: Vec<Peak>,
}

/// Blocks whose scale one element sets, with the element that is largest against the median of its row; `None` where there
/// are none.
pub fn sole_scales(found: &[Peaks]) -> Option<Warning> {
    let all = || found.iter().flat_map(|p| p.peaks.iter().map(move |peak| (p, peak)));
    let (sole, blocks) = all().fold((0, 0), |(s, b), (_, p)| (s + p.sole_blocks, b + p.blocks));
    let size = |p: &Peak| p.times_median.unwrap_or(f64::INFINITY);
    let crushing = all().filter(|(_, p)| p.sole_blocks > 0);
    let (site, peak) = crushing.max_by(|a, b| size(a.1).total_cmp(&size(b.1)))?;
    Some(Warning::SoleScales { site: site.site.clone(), peak: *peak, sole, blocks })
}

impl Peak {
    /// Looks at one row; `None` where it is empty.
    #[inline(always)]
    pub fn of<T: Value>(position: usize, row: &[T]) -> Option<Peak> {
        let size = |i: usize| row[i].into().abs().to_bits();
        let most = (0..row.len()).fold(0, |most, i| most.max(size(i)));
        let channel = lanes::find(row.len(), |i| size(i) == most)?;
        let value: f64 = row[channel].into();
        let sole_blocks = row.chunks(BLOCK).filter(|b| is_sole(b.iter().map(|x| (*x).into()))).count();
        let median = median_size(row);
        let times_median = (median > 0.0).then_some(value.abs() / median);
        Some(Peak { position, channel, value, times_median, sole_blocks, blocks: row.len().div_ceil(BLOCK) })
    }
}

/// The median magnitude of a row that is not empty; of an even number the larger of both in the middle. Magnitudes order like
/// their bits, NaN above all.
pub(crate) fn median_size<T: Value>(row: &[T]) -> f64 {
    let mut sizes: Vec<u64> = row.iter().map(|x| (*x).into().abs().to_bits()).collect();
    let middle = sizes.len() / 2;
    f64::from_bits(*sizes.select_nth_unstable(middle).1)
}

/// Whether one element sets the scale of a block: it is [`SOLE`] times the next largest magnitude, or more.
#[inline(always)]
pub fn is_sole(block: impl Iterator<Item = f64> + Clone) -> bool {
    let first = block.clone().fold(0.0f64, |most, x| if x.abs() > most { x.abs() } else { most });
    // It is one of them, unless it is infinite.
    let near = block.fold(0u32, |n, x| n.wrapping_add(u32::from(x.abs() * SOLE > first)));
    first > 0.0 && near <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_is_named_with_its_channel_and_its_blocks() {
        let mut row = vec![0.5; 2 * BLOCK];
        row[300] = -400.0;
        let peak = Peak::of(3, &row).unwrap();
        assert_eq!((peak.position, peak.channel, peak.value), (3, 300, -400.0));
        assert_eq!((peak.times_median, peak.sole_blocks, peak.blocks), (Some(800.0), 1, 2));
        assert_eq!(Peak::of(0, &[0.5; 300]).unwrap().sole_blocks, 0);
        assert_eq!(Peak::of::<f64>(0, &[]), None);
        assert_eq!(Peak::of(0, &[0.0, 0.0, 1.0]).unwrap().times_median, None);
    }

    #[test]
    fn one_element_sets_a_scale_from_four_times_the_next_on() {
        assert!(is_sole([1.0, -4.0, 0.5].into_iter()));
        assert!(!is_sole([1.0, -3.999, 0.5].into_iter()));
        assert!(!is_sole([0.0, 0.0].into_iter()));
        assert!(is_sole([0.0, 1e-30].into_iter()));
    }
}
