//! Massive activations: a value so large that the code of its block has no room for the others.
//!
//! Activations coded in 8 bits share one scale per block (256 values in Q8_K). Where one element sets that scale alone, the
//! others are coded as coarsely as it is large: the error of the block is that of its neighbours being crushed.

use serde::{Deserialize, Serialize};

use crate::Warning;

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
    pub fn of(position: usize, row: &[f64]) -> Option<Peak> {
        let mut sizes: Vec<f64> = row.iter().map(|x| x.abs()).collect();
        let channel = (0..sizes.len()).max_by(|i, j| sizes[*i].total_cmp(&sizes[*j]).then(j.cmp(i)))?;
        let value = row[channel];
        let sole_blocks = row.chunks(BLOCK).filter(|b| is_sole(b.iter().copied())).count();
        let middle = sizes.len() / 2;
        let (_, median, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
        let times_median = (*median > 0.0).then_some(value.abs() / *median);
        Some(Peak { position, channel, value, times_median, sole_blocks, blocks: row.len().div_ceil(BLOCK) })
    }
}

/// Whether one element sets the scale of a block: it is [`SOLE`] times the next largest magnitude, or more.
pub fn is_sole(block: impl Iterator<Item = f64>) -> bool {
    let (mut first, mut second) = (0.0f64, 0.0f64);
    for x in block.map(f64::abs) {
        if x > first {
            (first, second) = (x, first);
        } else if x > second {
            second = x;
        }
    }
    first > 0.0 && first >= SOLE * second
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
        assert_eq!(Peak::of(0, &[]), None);
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
