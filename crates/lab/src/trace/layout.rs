//! Where in an array the values of a site lie: recognised by shape, and said when it is not the plain one.

use std::ops::Range;

use twinpath_engine::{Config, Pairing, Point, Site, Tensor};

use super::names::{Layout, Meaning};
use super::raw::{Array, Element};
use crate::side::Values;

/// The values of one site in an array.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// Index of the array.
    pub(super) array: usize,
    layout: Layout,
    positions: usize,
    /// Values per position of the array, and the first of ours.
    stride: usize,
    offset: usize,
    /// Values per position of ours.
    pub(super) width: usize,
    /// Heads that the width is made of, and values of one in the array: more than ours where keys are padded.
    heads: usize,
    padded: usize,
    /// Where the array has half-split heads and we have adjacent pairs.
    repair: bool,
    /// A factor on every value, rounded to f32: scores that have not met theirs.
    factor: Option<f32>,
}

/// What is known of a recording before its arrays are placed.
#[derive(Clone, Copy)]
pub(super) struct Frame<'c> {
    /// The model's shape.
    pub(super) config: &'c Config,
    /// Tokens of the run: keys of attention.
    pub(super) tokens: usize,
    /// Positions recorded.
    pub(super) positions: usize,
    /// Whether q and k are half-split in the recording.
    pub(super) half_split: bool,
}

/// The sites of one array, with what is to be said of it.
pub(super) type Placed = (Vec<(Site, Place)>, Vec<String>);

impl Frame<'_> {
    /// Places the sites that `meaning` sees in `array`, number `index` of its file.
    ///
    /// # Errors
    /// Why its shape cannot be that of these sites, or could be in more than one way.
    pub(super) fn place(&self, index: usize, array: &Array, meaning: &Meaning) -> Result<Placed, String> {
        let widths: Vec<usize> = meaning.sites.iter().map(|site| self.config.width(site.point, self.tokens)).collect();
        let total: usize = widths.iter().sum();
        let Some(first) = meaning.sites.first() else { return Ok((Vec::new(), Vec::new())) };
        let heads = self.heads(first.point);
        let masked = matches!(first.point, Point::AttnScores | Point::AttnProbs);
        let (layout, padded) = self.layout(array, meaning.layout, total, heads, masked)?;
        let mut notes = Vec::new();
        if layout != Layout::Rows && meaning.layout != Some(layout) {
            let how = if layout == Layout::Heads { "head after head" } else { "transposed" };
            notes.push(format!("`{}` {:?}: {how}, taken apart so", array.name, array.shape));
        }
        if meaning.sites.len() > 1 {
            let names: Vec<String> = meaning.sites.iter().map(Site::to_string).collect();
            notes.push(format!("`{}` holds {} side by side", array.name, names.join(", ")));
        }
        let factor = meaning.unscaled.then(|| (1.0 / (self.config.head_dim as f64).sqrt()) as f32);
        let (mut offset, mut placed) = (0, Vec::new());
        for (site, width) in meaning.sites.iter().zip(widths) {
            let place = Place {
                array: index,
                layout,
                positions: self.positions,
                stride: total,
                offset,
                width,
                heads: self.heads(site.point),
                padded,
                repair: self.repairs(site.point),
                factor,
            };
            placed.push((*site, place));
            offset += width;
        }
        Ok((placed, notes))
    }

    fn heads(&self, point: Point) -> usize {
        match point {
            Point::K | Point::KNorm | Point::KRope | Point::V => self.config.kv_heads,
            Point::Q | Point::QNorm | Point::QRope | Point::AttnScores | Point::AttnProbs | Point::AttnCtx => {
                self.config.heads
            }
            _ => 1,
        }
    }

    fn repairs(&self, point: Point) -> bool {
        let rotates = matches!(point, Point::Q | Point::QNorm | Point::QRope | Point::K | Point::KNorm | Point::KRope);
        rotates && self.half_split && self.config.rope.pairing == Pairing::Adjacent
    }

    /// The layout, and the length of one head in the array.
    fn layout(
        &self,
        array: &Array,
        told: Option<Layout>,
        total: usize,
        heads: usize,
        masked: bool,
    ) -> Result<(Layout, usize), String> {
        let t = self.positions;
        let leading = array.shape.iter().take_while(|d| **d == 1).count().min(array.shape.len().saturating_sub(1));
        // A batch of one is no dimension of ours; but one position is.
        let leading = if t == 1 { leading.saturating_sub(1) } else { leading };
        let shape = &array.shape[leading..];
        let rest = |shape: &[usize]| shape.iter().product::<usize>();
        let per_head = total / heads;
        let rows = shape.first() == Some(&t) && rest(&shape[1..]) == total;
        let flat = shape.len() == 1 && shape[0] == t * total;
        let by_head = shape.len() == 3
            && shape[..2] == [heads, t]
            && if masked { shape[2] >= per_head } else { shape[2] == per_head };
        let columns = shape == [total, t] && t > 1;
        let fits: Vec<Layout> = [(rows || flat, Layout::Rows), (by_head, Layout::Heads), (columns, Layout::Columns)]
            .into_iter()
            .filter_map(|(fits, layout)| fits.then_some(layout))
            .collect();
        let padded = if by_head { shape[2] } else { per_head };
        match (told, fits.as_slice()) {
            (Some(told), fits) if fits.contains(&told) => Ok((told, padded)),
            (_, [only]) => Ok((*only, padded)),
            // A square matrix, or as many positions as heads: the plain reading is that of `[T, width]`.
            (None, [Layout::Rows, Layout::Columns]) => Ok((Layout::Rows, padded)),
            (_, []) => Err(format!(
                "`{}` has shape {:?}, which is not [{t}, {total}] in any layout known{}",
                array.name,
                array.shape,
                if shape.len() == 2 && shape[1] == total { ": record all positions" } else { "" }
            )),
            (_, _) => Err(format!(
                "`{}` has shape {:?}, which can be read in more than one way: say its layout in a map (--map)",
                array.name, array.shape
            )),
        }
    }
}

impl Place {
    /// Index in the array of value `c` of position `t`.
    fn index(&self, t: usize, c: usize) -> usize {
        let mut c = c;
        if self.repair {
            let dim = self.width / self.heads;
            let (head, i) = (c / dim, c % dim);
            c = head * dim + i % 2 * (dim / 2) + i / 2;
        }
        match self.layout {
            Layout::Rows => t * self.stride + self.offset + c,
            Layout::Columns => (self.offset + c) * self.positions + t,
            Layout::Heads => {
                let dim = self.width / self.heads;
                (c / dim * self.positions + t) * self.padded + c % dim
            }
        }
    }

    /// Rows `rows` as we lay them.
    pub(super) fn read(&self, array: &Array, rows: Range<usize>) -> Values {
        let factor = self.factor.map_or(1.0, f64::from);
        let values = rows.clone().flat_map(|t| (0..self.width).map(move |c| array.get(self.index(t, c)) * factor));
        match array.element {
            Element::F64 => Values::F64(Tensor::new(rows.len(), self.width, values.collect())),
            _ => Values::F32(Tensor::new(rows.len(), self.width, values.map(|x| x as f32).collect())),
        }
    }
}
