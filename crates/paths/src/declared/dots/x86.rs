//! On x86: VNNI for pairs, AMX for quads.

use std::arch::x86_64::*;

use super::{CHUNK, Integers, LANES, Pairs, Quads, ROWS, Sums, TILE, TileRegisters, Words};

/// Weights as tiles read them: `128 high + low`, `low` in 0..=127.
#[repr(C, align(64))]
pub(super) struct Bytes {
    pub(super) low: [[i8; CHUNK]; ROWS],
    pub(super) high: [[i8; CHUNK]; ROWS],
}

impl Bytes {
    pub(super) const ZERO: Bytes = Bytes { low: [[0; CHUNK]; ROWS], high: [[0; CHUNK]; ROWS] };
}

/// Puts the sums of the low parts of weights with digits of one byte, then of the high ones.
#[inline(always)]
pub(super) fn bytes(tiles: &mut TileRegisters, w: &Bytes, from: usize, x: &[Quads], out: &mut [Sums; 2]) {
    tiles.zero_four();
    for (x, from) in steps(x, from) {
        digits::<6>(tiles, x);
        weights::<4>(tiles, &w.low, 0, from);
        tiles.multiply::<0, 4, 6>();
        weights::<5>(tiles, &w.high, 0, from);
        tiles.multiply::<2, 5, 6>();
        weights::<7>(tiles, &w.low, 1, from);
        tiles.multiply::<1, 7, 6>();
        weights::<4>(tiles, &w.high, 1, from);
        tiles.multiply::<3, 4, 6>();
    }
    store_sums::<0, 1>(tiles, &mut out[0]);
    store_sums::<2, 3>(tiles, &mut out[1]);
}

/// Puts the sums of low parts of weights with low parts of digits, of low ones with high ones both ways, and of high parts.
/// Between two products that are added to one tile there are three others: that long it takes to add.
#[inline(always)]
pub(super) fn words(
    tiles: &mut TileRegisters,
    w: &Bytes,
    from: usize,
    [low, high]: [&[Quads]; 2],
    out: &mut [Sums; 3],
) {
    assert!(low.len() == high.len(), "digits have both parts");
    tiles.zero_four();
    tiles.zero::<4>();
    tiles.zero::<5>();
    for ((low, from), (high, _)) in steps(low, from).zip(steps(high, from)) {
        digits::<6>(tiles, low);
        weights::<7>(tiles, &w.high, 1, from);
        tiles.multiply::<3, 7, 6>();
        weights::<7>(tiles, &w.high, 0, from);
        tiles.multiply::<2, 7, 6>();
        weights::<7>(tiles, &w.low, 0, from);
        tiles.multiply::<0, 7, 6>();
        weights::<7>(tiles, &w.low, 1, from);
        tiles.multiply::<1, 7, 6>();
        digits::<6>(tiles, high);
        tiles.multiply::<3, 7, 6>();
        weights::<7>(tiles, &w.low, 0, from);
        tiles.multiply::<2, 7, 6>();
        weights::<7>(tiles, &w.high, 0, from);
        tiles.multiply::<4, 7, 6>();
        weights::<7>(tiles, &w.high, 1, from);
        tiles.multiply::<5, 7, 6>();
    }
    store_sums::<0, 1>(tiles, &mut out[0]);
    store_sums::<2, 3>(tiles, &mut out[1]);
    store_sums::<4, 5>(tiles, &mut out[2]);
}

/// The quads of 64 columns, and the first column, for each 64.
///
/// # Panics
/// When they are not within the rows.
#[inline(always)]
fn steps(x: &[Quads], from: usize) -> impl Iterator<Item = (&[Quads; 16], usize)> {
    let (steps, rest) = x.as_chunks();
    assert!(rest.is_empty(), "tiles take 64 columns");
    assert!(from + 64 * steps.len() <= CHUNK, "the columns lie within the rows");
    steps.iter().zip((from..).step_by(64))
}

/// Puts 64 columns of digits into a tile.
#[inline(always)]
fn digits<const T: usize>(tiles: &mut TileRegisters, x: &[Quads; 16]) {
    const { assert!(LANES == 16) };
    // SAFETY: the reference is to 16 readable lines of 64 bytes.
    unsafe { tiles.load::<T>(x.as_ptr().cast(), 64) };
}

/// Puts 64 columns from `from` on of the first or the second sixteen rows into a tile.
#[inline(always)]
fn weights<const T: usize>(tiles: &mut TileRegisters, w: &[[i8; CHUNK]; ROWS], half: usize, from: usize) {
    const { assert!(TILE == 16) };
    let rows: &[[i8; CHUNK]; TILE] = &w.as_chunks().0[half];
    assert!(from + 64 <= CHUNK, "64 columns lie within the rows");
    // SAFETY: from each of 16 rows of `CHUNK` bytes 64 are read, which lie within them.
    unsafe { tiles.load::<T>(rows.as_flattened().as_ptr().add(from), CHUNK) };
}

/// Writes the sums of the first sixteen rows and those of the second.
#[inline(always)]
fn store_sums<const FIRST: usize, const SECOND: usize>(tiles: &mut TileRegisters, out: &mut Sums) {
    let halves = out.as_chunks_mut::<TILE>().0;
    tiles.store::<FIRST>(&mut halves[0]);
    tiles.store::<SECOND>(&mut halves[1]);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn vnni(w: &Words, from: usize, x: &[Pairs], out: &mut Sums) {
    assert!(from <= CHUNK / 2 && x.len() <= CHUNK / 2 - from, "the pairs lie within the rows");
    for (w, out) in w.as_chunks::<TILE>().0.iter().zip(out.as_chunks_mut::<TILE>().0) {
        let mut sums = [_mm512_setzero_si512(); TILE];
        for (i, columns) in x.iter().enumerate() {
            // SAFETY: the reference is to 64 readable bytes; the load asks for no alignment.
            let columns = unsafe { _mm512_loadu_si512(std::ptr::from_ref(columns).cast()) };
            for r in 0..TILE {
                // SAFETY: a row is of `CHUNK / 2` pairs, and `from + i` is less, as asserted.
                let pair = unsafe { w[r].as_ptr().cast::<i32>().add(from + i).read_unaligned() };
                sums[r] = _mm512_dpwssd_epi32(sums[r], _mm512_set1_epi32(pair), columns);
            }
        }
        out.iter_mut().zip(sums).for_each(|(out, sums)| store(out, sums));
    }
}

/// See [`super::Weights::put`]; `bytes` are the low and the high parts. Vectors hold 64 columns: in each of four lanes sixteen
/// that share their scale.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn put(integers: &Integers, steps: &[i8; 16], mut bytes: Option<[&mut [i8; CHUNK]; 2]>) -> [i32; 16] {
    let zero = _mm512_setzero_si512();
    let (mut squares, mut stepped) = ([zero; 4], [zero; 4]);
    for q in 0..4 {
        let scales = spread::<true>(&integers.scales, q);
        let steps = spread::<false>(steps, q);
        let codes = load(&integers.codes, q);
        // Code and scale in the high bytes of words: the high half of their product is that of the two. What is unpacked
        // here is packed in the same order below.
        let a = _mm512_mulhi_epi16(_mm512_unpacklo_epi8(zero, codes), scales);
        let b = _mm512_mulhi_epi16(_mm512_unpackhi_epi8(zero, codes), scales);
        squares[q] = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(zero, a, a), b, b);
        stepped[q] = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(zero, a, steps), b, steps);
        if let Some([low, high]) = &mut bytes {
            let seven = _mm512_set1_epi16(127);
            let parts = _mm512_packs_epi16(_mm512_and_si512(a, seven), _mm512_and_si512(b, seven));
            store_64(low, q, parts);
            store_64(high, q, _mm512_packs_epi16(_mm512_srai_epi16::<7>(a), _mm512_srai_epi16::<7>(b)));
        }
    }
    let mut out = [0; 16];
    store(&mut out, totals(fours(squares), fours(stepped)));
    out
}

/// Bytes `4 q ..` as words, each in all of a lane; in the high bytes of the words if `HIGH`, else not below 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn spread<const HIGH: bool>(bytes: &[i8; 16], q: usize) -> __m512i {
    let four = i32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[4 * q + i].cast_unsigned()));
    // 128 makes a zero.
    let word = if HIGH { 0x0080 } else { 0x8000u16 as i16 };
    let lane = |i: i16| _mm_set1_epi16(word + if HIGH { i << 8 } else { i });
    let low = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(lane(0)), lane(1));
    let order = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(low, lane(2)), lane(3));
    _mm512_shuffle_epi8(_mm512_set1_epi32(four), order)
}

/// The sums of the lanes of four vectors: in each lane, those of the same lane of each.
#[inline]
#[target_feature(enable = "avx512f")]
fn fours(v: [__m512i; 4]) -> __m512i {
    let pair = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (a, b) = (pair(v[0], v[1]), pair(v[2], v[3]));
    _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
}

/// The sums of the first two and of the last two lanes, in the order of columns: of `a`, then of `b`.
#[inline]
#[target_feature(enable = "avx512f")]
fn totals(a: __m512i, b: __m512i) -> __m512i {
    let (even, odd) = (_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b));
    let order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    _mm512_permutexvar_epi32(order, _mm512_add_epi32(even, odd))
}

/// Bytes `64 q ..`.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[i8; CHUNK], q: usize) -> __m512i {
    let from: &[i8; 64] = &from.as_chunks().0[q];
    // SAFETY: the reference is to 64 readable bytes; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// To bytes `64 q ..`.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_64(to: &mut [i8; CHUNK], q: usize, bytes: __m512i) {
    let to: &mut [i8; 64] = &mut to.as_chunks_mut().0[q];
    // SAFETY: the reference is to 64 writable bytes; the store asks for no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), bytes) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(out: &mut [i32; LANES], sums: __m512i) {
    // SAFETY: the reference is to 64 writable bytes; the store asks for no alignment.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
}
