//! What a number speaks of. Numbers of different scope cannot be compared.

use serde::{Deserialize, Serialize};

/// Token positions that a number covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// First position.
    pub first: usize,
    /// Number of positions.
    pub count: usize,
}

impl Positions {
    /// Positions `first .. first + count`.
    pub fn new(first: usize, count: usize) -> Self {
        Positions { first, count }
    }
}

/// Values of a row that a number covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Every channel.
    All,
    /// Of attention scores and probabilities: the keys that the mask admits, of every head.
    AdmittedKeys,
}

/// Which positions and values of which site a number speaks of, pooled into one.
///
/// The site's name fixes the op and its stage (before or after bias, RoPE, residual).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Text form of the site, `blk.3.ffn_swiglu`.
    pub site: String,
    /// Token positions.
    pub positions: Positions,
    /// Values of each row.
    pub values: Values,
}

impl Scope {
    /// Why numbers of `self` and `other` cannot be compared; `None` if they can.
    pub fn mismatch(&self, other: &Scope) -> Option<String> {
        let (a, b) = (self.positions, other.positions);
        if self.site != other.site {
            return Some(format!("site {} against {}", self.site, other.site));
        }
        if a != b {
            let span = |p: Positions| format!("{}..{}", p.first, p.first + p.count);
            return Some(format!("positions {} against {}", span(a), span(b)));
        }
        (self.values != other.values).then(|| format!("{:?} against {:?}", self.values, other.values))
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Positions { first, count } = self.positions;
        let values = match self.values {
            Values::All => "all channels",
            Values::AdmittedKeys => "admitted keys of all heads",
        };
        match count {
            1 => write!(f, "{}, position {first}, {values}", self.site),
            _ => write!(f, "{}, positions {first}..{}, {values}", self.site, first + count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unequal_scopes_are_refused_with_the_reason() {
        let all = Scope { site: "blk.3.ffn_gate".into(), positions: Positions::new(0, 7), values: Values::All };
        let last = Scope { positions: Positions::new(6, 1), ..all.clone() };
        assert_eq!(all.mismatch(&all), None);
        assert_eq!(all.mismatch(&last).as_deref(), Some("positions 0..7 against 6..7"));
    }
}
