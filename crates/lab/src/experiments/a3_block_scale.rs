//! # Claim
//!
//! Scaling a weight's blocks scales both paths alike: the relative difference does not depend on the scale.
//!
//! # Why it matters
//!
//! Published as a candidate cause (`real weights have larger scales`). It is homogeneity, a theorem, and worth a test
//! of the kernels only.
//!
//! # Procedure
//!
//! Published (010): one super-block at seven scales. Here: a whole tensor of the model, with every block's f16 scales
//! doubled. Each output of both paths must be exactly double. Blocks whose scale is subnormal or would overflow are
//! left as they are in both.
//!
//! # Refuted if
//!
//! One output is not exactly twice the other.
//!
//! # Control
//!
//! The scale doubled and the minimum's scale not. Positive control: the tensor against itself, times one.
//!
//! # Blind spots
//!
//! Only a power of two can be tested for equality of bits; other factors round.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, percent};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "A3-block-scale", number: "010", source: include_str!("a3_block_scale.rs"), published };

/// The published label of each scale, its bytes, and the published relative difference.
const SCALES: [(&str, [u8; 2], &str); 7] = [
    ("0.001", [0x10, 0x14], "0.091873 %"),
    ("0.01", [0x1f, 0x21], "0.091873 %"),
    ("0.05", [0x33, 0x29], "0.091924 %"),
    ("0.1", [0x66, 0x2e], "0.092017 %"),
    ("0.5", [0x00, 0x38], "0.091932 %"),
    ("1", [0x00, 0x3c], "0.091932 %"),
    ("10", [0x00, 0x49], "0.091966 %"),
];

fn published(_: Option<&Model>) -> PublishedRecord {
    let x = fixture::activation(0);
    let mut rows = Vec::new();
    let mut all = Vec::new();
    let mut notes = Vec::new();
    for (label, d, expected) in SCALES {
        let mut block = fixture::block(0, 0);
        block[..4].copy_from_slice(&[d[0], d[1], 0, 0]);
        let (a, b) = fixture::both(&block, &x);
        let relative = fixture::relative(a, b);
        all.push(relative);
        rows.push(Row::digits(&format!("relative difference at d \"{label}\""), expected, relative, percent));
        let stored = fixture::scales(&block).0;
        // Half a unit of the label's last place is what a label may be off by.
        if label.parse::<f32>().is_ok_and(|named| (stored / named - 1.0).abs() > 0.001) {
            notes.push(format!("the label {label} is wrong: its bytes are {stored}"));
        }
    }
    let (least, most) = all.iter().fold((f32::MAX, 0.0f32), |(l, m), x| (l.min(*x), m.max(*x)));
    rows.push(Row::digits("largest over smallest", "1.00x", most / least, |x| format!("{x:.2}x")));
    let rule = Rule::new("largest over smallest", &[(5.0, "PARTIALLY CONFIRMED")], "NOT CONFIRMED");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A3 FALSIFIED (variance factor 1.00x)".to_owned(),
        rule_says: Some(rule.says(f64::from(most / least)).to_owned()),
        rule,
        rows,
        notes,
    }
}
