//! Weights copied into the order of the kernels, or read where the file is mapped.
//!
//! A copy costs its memory and the time of one pass or two, and gives the faster kernels of
//! [`Tiles`]; what the file had of it in memory is let go. No value changes by it.

use std::sync::Arc;

use twinpath_engine::Model;
use twinpath_formats::Matrix;
use twinpath_paths::Tiles;
use twinpath_paths::simd::Isa;

use crate::bench::available;
use crate::error::LabError;

/// Where weights are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Where the file is mapped.
    Map,
    /// In copies made for the kernels.
    Copy,
    /// In copies, where there is room.
    Room,
    /// In copies, where they are large and there is room.
    Auto,
}

/// Below this many bytes caches hold much of the weights, and reading them is not what a token waits for.
const LARGE: u64 = 256 << 20;

/// The copies of a model's weights that were asked for. `progress` hears bytes done and of how many. `None` where weights
/// are read where the file is mapped, which is always so with instruction sets whose kernels read rows as stored.
///
/// # Errors
/// When copies were asked for and there is not so much memory.
pub fn tiles(
    model: &Model,
    isa: Isa,
    load: Load,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Arc<Tiles>>, LabError> {
    let files = model.file().files();
    // What a container makes of its file's bytes goes away with the container.
    let weights: Vec<Matrix<'_>> =
        read_by_a_pass(model).into_iter().filter(|m| files.iter().any(|file| file.holds(m.bytes()))).collect();
    let size = Tiles::size(isa, &weights);
    let wanted = match load {
        Load::Map => false,
        Load::Copy => true,
        Load::Room => has_room(size),
        Load::Auto => size >= LARGE && has_room(size),
    };
    if size == 0 || !wanted {
        return Ok(None);
    }
    let held = files.clone();
    let copied = Tiles::new(isa, &weights, held, &mut |copied, done, total| {
        files.iter().for_each(|file| file.let_go(copied.bytes()));
        progress(done, total);
    });
    match copied {
        Ok(tiles) => Ok(tiles.map(Arc::new)),
        Err(_) if load != Load::Copy => Ok(None),
        Err(source) => Err(LabError::NoRoomForCopy { bytes: size, source }),
    }
}

/// Whether so much can be copied: half as much again must be free, for what else is needed.
fn has_room(size: u64) -> bool {
    available().is_some_and(|free| free >= size + size / 2)
}

/// The matrices that a pass over one position reads whole.
pub(crate) fn read_by_a_pass(model: &Model) -> Vec<Matrix<'_>> {
    let blocks = model.matrix_names().filter(|name| name.starts_with("blk.")).map(|name| model.matrix(name));
    blocks.chain([model.head().weight]).collect()
}
