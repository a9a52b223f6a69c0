//! # Claim
//!
//! An explanation of a drift multiplies or adds only quantities of one measure, taken on one set of data, and each of
//! them measured.
//!
//! # Why it matters
//!
//! Published as 0.077 % x 5.70 x 50 x 5.56 x 14 = `1715 %, to within rounding` of the alarm's 1723 %. The product is
//! 1708 %, and the 14 was obtained by dividing the alarm by the rest.
//!
//! # Procedure
//!
//! Published: the product. Here: a ledger that knows what each factor starts from and leads to, on which data, and what
//! it was solved from; it must refuse the published product. What may be said instead: the energy that each layer adds,
//! passed on by the gains of the layers after it, summed over the layers, against the energy of the drift at the end.
//!
//! # Refuted if
//!
//! The ledger accepts the published product, or the sum lies outside 0.64 to 1.56 of what is measured (0.8 to 1.25 in
//! length).
//!
//! # Control
//!
//! The sum with what layers pass on left out. Positive control: the ratios of the drift from layer to layer, which the
//! ledger must accept and whose product must be the drift at the end over that at the start.
//!
//! # Blind spots
//!
//! The shares are of energy, and take the layers' additions to be uncorrelated.

use twinpath_engine::Model;
use twinpath_evidence::ledger::{Factor, Product};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "decomposition", number: "product", source: include_str!("decomposition.rs"), published };

/// What the published product is said to explain.
const TOTAL: &str = "the alarm's 1723 %";

/// The published factors, with what each was measured as.
fn product() -> Product {
    let factor = |name: &str, value: f64, from: &str, to: &str, data: &str| Factor {
        name: name.to_owned(),
        value,
        from: from.to_owned(),
        to: to.to_owned(),
        data: data.to_owned(),
        contains: Vec::new(),
        defined_from: None,
    };
    let single = "relative difference of one dot product";
    let vector = "relative L2 of a vector";
    let spread = "ratio of standard deviations over a batch";
    Product::of(
        vec![
            factor("008", 0.077, "percent", single, "super-block 0 of the fixture"),
            factor("009", 5.70, single, vector, "the chain of five, token 0"),
            Factor {
                contains: vec!["009".to_owned()],
                ..factor("013", 50.0, single, spread, "the chain of five, tokens 0 to 6")
            },
            factor("014", 5.56, single, single, "layer 3 of the 7B model"),
            Factor {
                defined_from: Some(TOTAL.to_owned()),
                ..factor("residual", 14.0, "ratio of totals", "ratio of totals", "the alarm")
            },
        ],
        TOTAL,
    )
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let product = product();
    let value = product.factors.iter().fold(1.0f32, |p, f| p * f.value as f32);
    let rule = Rule::new("factors that do not compose", &[(0.0, "REFUSED")], "product");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "1715 %, decomposed to within rounding".to_owned(),
        rule_says: Some(rule.says(product.refusals.len() as f64).to_owned()),
        rule,
        rows: vec![Row::digits("0.077 % x 5.70 x 50 x 5.56 x 14", "1708 %", value, |x| format!("{x:.0} %"))],
        notes: product.refusals,
    }
}
