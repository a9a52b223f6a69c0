//! # Claim
//!
//! Both paths decode each code to the same f32: the format's real number, rounded once.
//!
//! # Why it matters
//!
//! If the paths already disagree on the weights, no arithmetic after that needs an explanation.
//!
//! # Procedure
//!
//! Published (007): 256 values of one super-block, by scalar and by SIMD code. Here: rows of every quantised matrix of
//! the model (all of them up to a million values, evenly spaced ones beyond), by the paths' fast decoder on every
//! instruction set, against the exact decoder of the file formats rounded once to f32. Counts values whose bits differ.
//!
//! # Refuted if
//!
//! One value differs in one bit.
//!
//! # Control
//!
//! The same rows with the two nibbles of one byte exchanged. Positive control: the exact decoder against itself.
//!
//! # Blind spots
//!
//! Rows that were not sampled in matrices of more than a million values; the count is in the record.

use rayon::prelude::*;
use twinpath_engine::{Model, Numerics, Op, Point, Site};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};
use twinpath_formats::{Matrix, TensorType};
use twinpath_paths::Standalone;
use twinpath_paths::simd::Isa;

use super::Experiment;
use super::kit::Bench;
use super::kit::fixture::{self, BLOCK};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "decode", number: "007", source: include_str!("decode.rs"), published, sound, needs_runs: false };

/// What the paths' own decoder makes of a super-block; nothing if it is no matrix.
fn fast(block: &[u8]) -> Vec<f32> {
    let Ok(table) = Matrix::new(TensorType::Q4K, 1, BLOCK, block) else { return Vec::new() };
    let op = Op::Embed { table, tokens: &[0] };
    Standalone::new().eval(Site::outer(Point::Embed), &op, &[]).data().to_vec()
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let block = fixture::block(0, 0);
    let (scalar, simd) = (fixture::decode(&block), fast(&block));
    let equal = scalar.iter().zip(&simd).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
    let rule = Rule::new("values that differ", &[(0.0, "FAIL")], "PASS");
    let print = |x: f32| format!("{x}");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "PASS".to_owned(),
        rule_says: Some(rule.says((BLOCK - equal) as f64).to_owned()),
        rule,
        rows: vec![
            Row::words("values equal in both decoders", "256", &equal.to_string()),
            Row::bits("element 0", "10.75", 0x412c_0000, scalar[0], print),
            Row::bits("element 255", "1.25", 0x3fa0_0000, scalar[255], print),
        ],
        notes: Vec::new(),
    }
}

/// Values looked at in one matrix.
const MOST: usize = 1 << 20;

fn sound(bench: &Bench<'_>) -> Findings {
    let names: Vec<&str> = bench.model.matrix_names().collect();
    let counts: Vec<(u64, u64)> = names
        .par_iter()
        .map(|name| {
            let matrix = bench.model.matrix(name);
            let rows = (MOST / matrix.cols()).clamp(1, matrix.rows());
            let sample: Vec<u32> = (0..rows).map(|i| (i * matrix.rows() / rows) as u32).collect();
            differing(matrix, &sample)
        })
        .collect();
    let (differ, values) = counts.iter().fold((0, 0), |(d, n), c| (d + c.0, n + c.1));
    let block = fixture::block(0, 0);
    let mut exchanged = block;
    exchanged[17] = exchanged[17].rotate_left(4);
    let exact: Vec<f32> = fixture::decode(&block);
    let against = |b: &[u8]| fast(b).iter().zip(&exact).filter(|(a, b)| a.to_bits() != b.to_bits()).count() as f64;
    let because = "only the last subtraction can round: every product is exact in f32";
    let what = format!("values that differ, of {values} in {} matrices", names.len());
    Findings {
        checks: vec![Check::new(&what, Band::none(), because, Interval::exact(differ as f64))],
        controls: vec![Check::new(
            "values that differ, two nibbles exchanged",
            Band::none(),
            because,
            Interval::exact(against(&exchanged)),
        )],
        positive_controls: vec![Check::new(
            "values that differ, the fixture",
            Band::none(),
            because,
            Interval::exact(against(&block)),
        )],
        notes: Vec::new(),
    }
}

/// Values of some rows whose bits differ between a path's decoder and the exact one, on any instruction set, and how many
/// were looked at.
fn differing(table: Matrix<'_>, rows: &[u32]) -> (u64, u64) {
    let mut exact = vec![0.0; table.cols()];
    let isas = Isa::all_available();
    let (mut differ, mut values) = (0, 0);
    for tokens in rows.chunks(64) {
        let op = Op::Embed { table, tokens };
        let decode = |isa: &Isa| Standalone::with_isa(*isa).eval(Site::outer(Point::Embed), &op, &[]);
        let found: Vec<_> = isas.iter().map(decode).collect();
        for (t, row) in tokens.iter().enumerate() {
            table.decode_row(*row as usize, &mut exact);
            for (i, exact) in exact.iter().enumerate() {
                let bits = (*exact as f32).to_bits();
                differ += u64::from(found.iter().any(|f| f.row(t)[i].to_bits() != bits));
            }
            values += exact.len() as u64;
        }
    }
    (differ, values)
}
