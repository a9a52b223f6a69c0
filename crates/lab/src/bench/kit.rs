//! What several measures need: threads, weights in memory, a model that stands at a position.

use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use twinpath_engine::{EngineError, Model, NoProbe, Rows, Session, Tensor};
use twinpath_formats::{Matrix, TensorType};
use twinpath_paths::limits::{self, Buffer, Pages};
use twinpath_paths::simd::{Isa, Level};
use twinpath_paths::{Path, Tiles, fused_q8k, fused_q8x32, standalone};

use super::race::Race;
use super::{Subject, system};
pub(super) use crate::copy::read_by_a_pass;
use crate::error::LabError;
use crate::side::Arithmetic;
use crate::spec::PathName;

/// One thread, and several.
pub struct Threads {
    pools: Vec<ThreadPool>,
}

impl Threads {
    /// One, and `most` if that is more.
    ///
    /// # Errors
    /// When the system refuses threads.
    pub fn new(most: usize) -> Result<Threads, LabError> {
        let pool = |n| {
            let built = ThreadPoolBuilder::new().num_threads(n).build();
            built.map_err(|e| LabError::Threads { why: e.to_string() })
        };
        let pools = if most > 1 { vec![pool(1)?, pool(most)?] } else { vec![pool(1)?] };
        Ok(Threads { pools })
    }

    /// Each of them.
    pub(super) fn each(&self) -> impl Iterator<Item = &ThreadPool> {
        self.pools.iter()
    }

    /// One.
    pub(super) fn one(&self) -> &ThreadPool {
        &self.pools[0]
    }

    /// As many as there are.
    pub(super) fn all(&self) -> &ThreadPool {
        &self.pools[self.pools.len() - 1]
    }
}

/// `, 2 threads`, for names.
pub(super) fn on(pool: &ThreadPool) -> String {
    match pool.current_num_threads() {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    }
}

/// Reads all bytes, a stretch for each thread of the pool that runs it.
pub(super) fn read(isa: Isa, bytes: &[u8]) {
    match rayon::current_num_threads() {
        1 => limits::read(isa, bytes),
        n => bytes.par_chunks(bytes.len().div_ceil(n).max(1)).for_each(|part| limits::read(isa, part)),
    }
}

/// Multiplies as often as it is told, or says that the instruction set cannot.
pub(super) type Limit = fn(Isa, u64) -> Option<u64>;

/// Multiplies on each thread of the pool that runs it; returns the multiplications done.
fn multiply(limit: Limit, isa: Isa, macs: f64) -> f64 {
    let each = (macs / rayon::current_num_threads() as f64) as u64;
    let done = rayon::broadcast(|_| limit(isa, each));
    done.into_iter().flatten().map(|n| n as f64).sum()
}

/// Names of the peaks.
pub(super) const INT8_PEAK: &str = "int8 peak";
pub(super) const F32_PEAK: &str = "f32 peak";
/// Of VNNI, where the instruction set has tiles beyond it.
pub(super) const VNNI_PEAK: &str = "int8 peak of VNNI";

/// Lets the peaks take part: `macs` products count as `work`.
pub(super) fn peaks<'r>(race: &mut Race<'r>, isa: Isa, pool: &'r ThreadPool, macs: f64, work: f64) {
    peak(race, INT8_PEAK, (limits::multiply_int8, isa), pool, (macs, work));
    peak(race, F32_PEAK, (limits::multiply_f32, isa), pool, (macs, work));
    if let Some(vnni) = vnni_below(isa) {
        peak(race, VNNI_PEAK, (limits::multiply_int8, vnni), pool, (macs, work));
    }
}

/// Lets one of them take part, unless the instruction set has not got it.
pub(super) fn peak<'r>(
    race: &mut Race<'r>,
    name: impl Into<String>,
    (limit, isa): (Limit, Isa),
    pool: &'r ThreadPool,
    (macs, work): (f64, f64),
) {
    if limit(isa, 1).is_some() {
        race.racer(name, pool, move || Ok(multiply(limit, isa, macs) / macs * work));
    }
}

/// VNNI, where `isa` is wider.
fn vnni_below(isa: Isa) -> Option<Isa> {
    Isa::new(Level::Avx512Vnni).filter(|vnni| isa.level() > vnni.level())
}

/// Asks for the speed of `name` beside the peak of its products; `target` is a share of the peak that VNNI has.
pub(super) fn share_of_int8_peak(race: &mut Race<'_>, isa: Isa, name: &str, target: Option<f64>) {
    let tiles = vnni_below(isa).is_some();
    race.speed(name, INT8_PEAK, target.filter(|_| !tiles));
    if tiles {
        race.speed(name, VNNI_PEAK, target);
    }
}

/// Lets every peer that can multiply such weights take part: one product counts as `work`. Its matrices are met round and
/// round, like ours.
pub(super) fn peers<'r>(
    subject: &Subject<'_>,
    race: &mut Race<'r>,
    pool: &'r ThreadPool,
    weights: &Weights,
    x: &Tensor<f32>,
    work: f64,
) {
    for peer in subject.peers.iter().filter(|peer| peer.threads() == pool.current_num_threads()) {
        let prepared: Option<Vec<_>> = (0..weights.count()).map(|i| peer.prepare(weights.matrix(i))).collect();
        let Some(mut products) = prepared else { continue };
        let (x, name, mut i) = (x.clone(), peer.name(), 0);
        race.racer(name, pool, move || {
            let product = i % products.len();
            let done = products[product].multiply(x.rows(), x.data());
            done.map_err(|why| LabError::Peer { name, why })?;
            i += 1;
            Ok(work)
        });
        for path in subject.paths {
            race.speed(path.name(), name, None);
            race.speed(&copied(path.name()), name, None);
        }
    }
}

/// Whether targets are for such a model: those of speed are for weights that no cache holds.
pub(super) fn is_large(model: &Model) -> bool {
    let bytes: usize = read_by_a_pass(model).iter().map(|m| m.bytes().len()).sum();
    bytes >= LARGE
}

/// Bytes of weights that every pass reads from memory.
const LARGE: usize = 512 << 20;

/// Asks for the time of `fused-q8x32` against `fused-q8k`, where both take part.
pub(super) fn finer_scales(race: &mut Race<'_>, model: &Model, at_most: f64) {
    race.time(fused_q8x32::NAME, fused_q8k::NAME, is_large(model).then_some(at_most));
}

/// Bytes that do not fit into any cache.
pub(super) fn out_of_cache(quick: bool) -> usize {
    let caches = system::caches().map_or(0, |(_, last)| last as usize);
    let wanted = if quick { 256 << 20 } else { (4 * caches).clamp(256 << 20, 1 << 30) };
    // A quarter of what is free: two such buffers and the model must have room.
    let free = system::available().map_or(wanted, |free| (free / 4) as usize);
    wanted.min(free.max(16 << 20))
}

/// Memory on huge or small pages, already written.
///
/// # Errors
/// When there is not so much.
pub(super) fn buffer(len: usize, pages: Pages) -> Result<Buffer, LabError> {
    let mut buffer = Buffer::new(len, pages).map_err(|source| LabError::Memory { bytes: len as u64, source })?;
    buffer.fill(0x35);
    Ok(buffer)
}

/// What a path is called when it reads copies.
pub(super) fn copied(name: &str) -> String {
    format!("{name}, copied")
}

/// Equal matrices one after another, of blocks that a model has.
pub(super) struct Weights {
    tensor_type: TensorType,
    rows: usize,
    cols: usize,
    size: usize,
    buffer: Arc<Buffer>,
}

impl Weights {
    /// As many of `rows` x `cols` as `bytes` hold, at least one, with the blocks of `source` over and over.
    ///
    /// # Errors
    /// When there is not so much memory.
    pub(super) fn new(source: Matrix<'_>, rows: usize, cols: usize, bytes: usize) -> Result<Weights, LabError> {
        let tensor_type = source.tensor_type();
        let format = source.format();
        let size = rows * cols / format.block_len() * format.block_bytes();
        let mut buffer = buffer((bytes / size).max(1) * size, Pages::Huge)?;
        let whole = source.bytes().len() / format.block_bytes() * format.block_bytes();
        for part in buffer.chunks_mut(whole) {
            part.copy_from_slice(&source.bytes()[..part.len()]);
        }
        Ok(Weights { tensor_type, rows, cols, size, buffer: Arc::new(buffer) })
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The fused paths with copies of these matrices, and their names; none where their kernels read none.
    ///
    /// # Errors
    /// When there is not so much memory.
    pub(super) fn copied(&self, subject: &Subject<'_>) -> Result<Vec<(String, Arithmetic)>, LabError> {
        let all: Vec<Matrix<'_>> = (0..self.count()).map(|i| self.matrix(i)).collect();
        let bytes = Tiles::size(subject.isa, &all);
        let names = subject.paths.iter().map(Arithmetic::name).filter(|name| *name != standalone::NAME);
        let paths: Vec<PathName> = names.filter_map(PathName::find).collect();
        if bytes == 0 || paths.is_empty() {
            return Ok(Vec::new());
        }
        let tiles = Tiles::new(subject.isa, &all, Arc::clone(&self.buffer), &mut |_, _, _| {});
        let Some(tiles) = tiles.map_err(|source| LabError::Memory { bytes, source })?.map(Arc::new) else {
            return Ok(Vec::new());
        };
        let with = |path: PathName| {
            let mut arithmetic = Arithmetic::new(path, subject.isa);
            arithmetic.adopt(&tiles);
            (copied(arithmetic.name()), arithmetic)
        };
        Ok(paths.into_iter().map(with).collect())
    }

    /// Bytes of one matrix.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Matrices.
    pub(super) fn count(&self) -> usize {
        self.buffer.len() / self.size
    }

    /// One of them, counted round and round.
    pub(super) fn matrix(&self, i: usize) -> Matrix<'_> {
        let at = i % self.count() * self.size;
        let bytes = &self.buffer[at..at + self.size];
        Matrix::new(self.tensor_type, self.rows, self.cols, bytes).unwrap_or_else(|e| unreachable!("whole blocks: {e}"))
    }
}

/// The largest matrix of each block type, the types with the most bytes first.
pub(super) fn largest_of_each_type(model: &Model) -> Vec<Matrix<'_>> {
    let mut found: Vec<(usize, Matrix<'_>)> = Vec::new();
    for matrix in model.matrix_names().map(|name| model.matrix(name)) {
        match found.iter_mut().find(|(_, m)| m.tensor_type() == matrix.tensor_type()) {
            None => found.push((matrix.bytes().len(), matrix)),
            Some((bytes, largest)) => {
                *bytes += matrix.bytes().len();
                if matrix.bytes().len() > largest.bytes().len() {
                    *largest = matrix;
                }
            }
        }
    }
    found.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    found.into_iter().map(|(_, matrix)| matrix).collect()
}

/// Activations like those behind a norm, `[positions, cols]`: near Gaussian, each the sum of four even ones. How fast a kernel is
/// may depend on how many are far from zero.
pub(super) fn activations(positions: usize, cols: usize) -> Tensor<f32> {
    let even = |i: usize| {
        let mixed = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
    };
    let value = |i: usize| (4 * i..4 * i + 4).map(even).sum::<u64>() as f32 / 8_388_608.0 - 4.0;
    Tensor::new(positions, cols, (0..positions * cols).map(value).collect())
}

/// Token ids spread over the vocabulary.
pub(super) fn tokens(model: &Model, n: usize) -> Vec<u32> {
    let n = n.min(model.config().context);
    (0..n).map(|i| ((i * 397 + 11) % model.config().vocab) as u32).collect()
}

/// Multiplications of a pass over `positions` from the first, with one row of logits: those of matrices, and those of
/// attention that the mask admits.
pub(super) fn macs(model: &Model, positions: usize) -> f64 {
    let of = |m: &Matrix<'_>| m.rows() as f64 * m.cols() as f64;
    let matrices = read_by_a_pass(model);
    let (head, blocks) = matrices.split_last().map_or((0.0, 0.0), |(h, b)| (of(h), b.iter().map(of).sum()));
    let c = model.config();
    let n = positions as f64;
    let attention = c.layers as f64 * 2.0 * (c.heads * c.head_dim) as f64 * n * (n + 1.0) / 2.0;
    blocks * n + head + attention
}

/// A model at some position.
pub(super) struct Standing<'m> {
    session: Session<'m, dyn Path + 'm>,
    token: u32,
}

impl<'m> Standing<'m> {
    /// Has read `past` tokens along `path`.
    ///
    /// # Errors
    /// When the context has no room for them and one more.
    pub(super) fn new(model: &'m Model, path: &'m Arithmetic, past: usize) -> Result<Self, LabError> {
        let mut session = Session::new(model, along(path));
        let tokens = tokens(model, past + 1);
        let (last, first) = tokens.split_last().ok_or(EngineError::EmptyPrompt)?;
        if !first.is_empty() {
            session.forward(first, Rows::Last, &mut NoProbe)?;
        }
        Ok(Standing { session, token: *last })
    }

    /// One decoding step, after which it stands where it stood.
    pub(super) fn step(&mut self) -> Result<(), LabError> {
        let mut x = self.session.embed(&[self.token], &mut NoProbe)?;
        for layer in 0..self.session.model().config().layers {
            x = self.session.block(layer, x, &mut NoProbe);
        }
        std::hint::black_box(self.session.head(x, &mut NoProbe));
        Ok(())
    }
}

/// The path of an arithmetic that is one.
pub(super) fn along(arithmetic: &Arithmetic) -> &dyn Path {
    arithmetic.path().unwrap_or_else(|| unreachable!("the oracle is not measured"))
}
