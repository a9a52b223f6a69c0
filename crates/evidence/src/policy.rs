//! Policies: which path makes which value.

use serde::{Deserialize, Serialize};

use crate::contract::yaml::{Unreadable, typed};

/// Which path makes which value. The first rule that fits a value decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it does, and what for.
    pub why: String,
    /// In order; the last one fits everything.
    pub rules: Vec<Rule>,
}

/// A path and what it is used for: all conditions must hold, an absent one always does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The path.
    #[serde(rename = "use")]
    pub path: String,
    /// Kinds of op: `embed`, `linear`, `norm`, `rope`, `scores`, `softmax`, `mix`, `silu`, `multiply`, `add`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<String>,
    /// Points of a layer, `ffn_down`; a tensor is the point that reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<String>,
    /// Layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
    /// Block formats of the weights, `Q4_K`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<String>,
    /// Whether it is only for positions of a linear op's input that hold a block whose scale one element sets (see
    /// [`massive`](crate::massive)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub massive: bool,
}

impl Rule {
    /// Whether it fits every value.
    pub fn fits_all(&self) -> bool {
        let lists = [&self.ops, &self.points, &self.weights];
        !self.massive && self.layers.is_empty() && lists.iter().all(|l| l.is_empty())
    }
}

impl Policy {
    /// Reads the YAML of a policy.
    ///
    /// # Errors
    /// When it is no YAML, has a key that policies lack, or its last rule does not fit everything.
    pub fn read(text: &str) -> Result<Policy, Unreadable> {
        let policy: Policy = typed(text)?;
        match policy.rules.last() {
            Some(rule) if rule.fits_all() => Ok(policy),
            _ => Err(Unreadable {
                duplicate_key: false,
                why: "the last rule must fit everything: end the rules with `- {use: PATH}`".to_owned(),
                at: crate::contract::yaml::Place { line: 1, column: 1 },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_and_written_again() {
        let text = "name: p\nwhy: a test\nrules:\n  - {use: standalone, points: [ffn_down], massive: true}\n  - {use: \
                    fused-q8k}\n";
        let policy = Policy::read(text).unwrap();
        assert_eq!((policy.rules.len(), policy.rules[0].massive, policy.rules[1].fits_all()), (2, true, true));
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
    }

    #[test]
    fn an_open_end_an_unknown_key_and_no_rules_are_refused() {
        for (rules, said) in [
            ("[{use: standalone, layers: [0]}]", "must fit everything"),
            ("[]", "must fit everything"),
            ("[{use: standalone, tensor: x}]", "tensor"),
        ] {
            let error = Policy::read(&format!("name: p\nwhy: w\nrules: {rules}\n")).unwrap_err();
            assert!(error.why.contains(said), "{rules}: {}", error.why);
        }
    }
}
