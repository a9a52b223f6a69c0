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
//! the model (all of them up to 4 million values, evenly spaced ones beyond), by the paths' fast decoder on every
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
//! Rows that were not sampled in matrices of more than 4 million values; the count is in the record.

use twinpath_engine::{Model, Numerics, Op, Point, Site};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};
use twinpath_formats::{Matrix, TensorType};
use twinpath_paths::Standalone;

use super::Experiment;
use super::kit::fixture::{self, BLOCK};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "decode", number: "007", source: include_str!("decode.rs"), published };

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
