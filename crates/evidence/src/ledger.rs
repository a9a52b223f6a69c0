//! What may be multiplied or added with what.
//!
//! A product of factors says something only if each factor turns one quantity into the next one of the same kind, taken on
//! the same data: `drift at 2 / drift at 1` times `drift at 3 / drift at 2`. Factors that merely have a percent sign in
//! common do not compose.

use serde::{Deserialize, Serialize};

/// One factor of an explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// The measure of the quantity that it starts from, `relative L2 over rows`.
    pub from: String,
    /// The measure of the quantity that it leads to.
    pub to: String,
    /// The data that it was taken on.
    pub data: String,
    /// Names of factors that are already inside this one.
    pub contains: Vec<String>,
    /// The quantity that it was solved from, if it was not measured.
    pub defined_from: Option<String>,
}

/// A product of factors, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// The factors.
    pub factors: Vec<Factor>,
    /// Their product, if it means something.
    pub value: Option<f64>,
    /// Why it does not.
    pub refusals: Vec<String>,
}

impl Product {
    /// Multiplies what may be multiplied; `total` is what the product is said to explain.
    pub fn of(factors: Vec<Factor>, total: &str) -> Product {
        let mut refusals = Vec::new();
        for pair in factors.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            if a.to != b.from {
                refusals.push(format!(
                    "unlike measures: {} leads to `{}`, {} starts from `{}`",
                    a.name, a.to, b.name, b.from
                ));
            }
            if a.data != b.data {
                refusals.push(format!("unlike data: {} was taken on {}, {} on {}", a.name, a.data, b.name, b.data));
            }
        }
        for f in &factors {
            for inner in f.contains.iter().filter(|inner| factors.iter().any(|g| g.name == **inner)) {
                refusals.push(format!("counted twice: {} already contains {inner}", f.name));
            }
            if let Some(from) = &f.defined_from {
                let circle = if from == total { ", the total that it is to explain" } else { "" };
                refusals.push(format!("not measured: {} was solved from {from}{circle}", f.name));
            }
        }
        let value = (refusals.is_empty() && !factors.is_empty()).then(|| factors.iter().map(|f| f.value).product());
        Product { factors, value, refusals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(name: &str, value: f64, from: &str, to: &str) -> Factor {
        Factor {
            name: name.into(),
            value,
            from: from.into(),
            to: to.into(),
            data: "run 1".into(),
            contains: Vec::new(),
            defined_from: None,
        }
    }

    #[test]
    fn a_chain_of_like_factors_multiplies() {
        let p = Product::of(vec![factor("a", 2.0, "x", "x"), factor("b", 3.0, "x", "x")], "t");
        assert_eq!((p.value, p.refusals.len()), (Some(6.0), 0));
    }

    #[test]
    fn each_way_of_not_composing_is_refused() {
        let like = factor("a", 2.0, "x", "x");
        let refused = |b: Factor| Product::of(vec![like.clone(), b], "t");
        let cases = [
            factor("b", 3.0, "y", "x"),
            Factor { data: "run 2".into(), ..factor("b", 3.0, "x", "x") },
            Factor { contains: vec!["a".into()], ..factor("b", 3.0, "x", "x") },
            Factor { defined_from: Some("t".into()), ..factor("b", 3.0, "x", "x") },
        ];
        for case in cases {
            let p = refused(case);
            assert_eq!((p.value, p.refusals.len()), (None, 1), "{:?}", p.refusals);
        }
        assert_eq!(Product::of(Vec::new(), "t").value, None);
    }
}
