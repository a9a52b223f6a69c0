//! Policies that come with the program, and the path that a policy is.

mod policed;

use twinpath_evidence::Policy;
use twinpath_paths::simd::Isa;

use crate::error::LabError;
pub use policed::{BadRule, Policed};

/// One line of [`POLICIES`].
pub struct Builtin {
    /// The name in reports and on the command line.
    pub name: &'static str,
    /// The policy as a user would write it.
    pub yaml: &'static str,
}

/// Every built-in policy, the published options first.
pub const POLICIES: &[Builtin] = &[
    Builtin { name: "option-a", yaml: include_str!("option_a.yaml") },
    Builtin { name: "option-b", yaml: include_str!("option_b.yaml") },
    Builtin { name: "option-c", yaml: include_str!("option_c.yaml") },
    Builtin { name: "mixed", yaml: include_str!("mixed.yaml") },
];

impl Builtin {
    /// The policy.
    pub fn policy(&self) -> Policy {
        Policy::read(self.yaml).unwrap_or_else(|e| unreachable!("{} is read by a test: {}", self.name, e.why))
    }

    /// The path that it is.
    pub fn path(&self, isa: Isa) -> Policed {
        Policed::new(self.name, &self.policy(), isa)
            .unwrap_or_else(|e| unreachable!("{} is made by a test: {e}", self.name))
    }
}

/// The policy of a file.
///
/// # Errors
/// When it cannot be read, or names what there is not.
pub fn open(file: &std::path::Path, isa: Isa) -> Result<Policed, LabError> {
    let bad = |why: String| LabError::BadPolicy { file: file.display().to_string(), why };
    let text = std::fs::read_to_string(file).map_err(|source| LabError::Io { file: file.to_owned(), source })?;
    let policy = Policy::read(&text).map_err(|e| bad(format!("line {}: {}", e.at.line, e.why)))?;
    Policed::new("policy", &policy, isa).map_err(|why| bad(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_is_read_under_its_name() {
        for builtin in POLICIES {
            assert_eq!(builtin.policy().name, builtin.name);
            assert!(!builtin.path(Isa::detect()).why().is_empty());
        }
    }
}
