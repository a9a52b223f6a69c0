//! What changed between two versions of a contract, and by how much its version must rise.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Contract;
use super::claim::Claim;
use super::measured::definition;

/// A semantic version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Three numbers with dots; nothing after them.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.split('.').map(|part| {
            let plain =
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            plain.then(|| part.parse::<u32>().ok()).flatten()
        });
        let version = Version(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }

    /// The next version after a change.
    pub fn raised(self, bump: Bump) -> Version {
        let Version(major, minor, patch) = self;
        match bump {
            Bump::None => self,
            Bump::Patch => Version(major, minor, patch.saturating_add(1)),
            Bump::Minor => Version(major, minor.saturating_add(1), 0),
            Bump::Major => Version(major.saturating_add(1), 0, 0),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// How much a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bump {
    /// Nothing changed.
    None,
    /// Wording.
    Patch,
    /// Something new.
    Minor,
    /// A promise became another, or is gone.
    Major,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// How much it is.
    pub bump: Bump,
    /// What it is.
    pub what: String,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Version before.
    pub from: String,
    /// Version after, as written.
    pub to: String,
    /// Version after, at least; absent where the version before is none.
    pub needed: Option<String>,
    /// Whether the version rose enough.
    pub enough: bool,
    /// In the order of the file.
    pub changes: Vec<Change>,
}

/// Compares two versions of a contract.
pub fn diff(old: &Contract, new: &Contract) -> Difference {
    let mut changes = claims(&old.claims, &new.claims);
    changes.extend(named("gate", gates(old), gates(new)));
    changes.extend(named("proof obligation", obligations(old), obligations(new)));
    changes.extend(named("equation", equations(old), equations(new)));
    changes.extend(named("falsification test", tests(old), tests(new)));
    if (&old.metadata.description, &old.metadata.references) != (&new.metadata.description, &new.metadata.references) {
        changes.push(Change { bump: Bump::Patch, what: "wording of the metadata".to_owned() });
    }
    let bump = changes.iter().map(|c| c.bump).max().unwrap_or(Bump::None);
    let (from, to) = (Version::parse(&old.metadata.version), Version::parse(&new.metadata.version));
    let needed = from.map(|v| v.raised(bump));
    Difference {
        from: old.metadata.version.clone(),
        to: new.metadata.version.clone(),
        needed: needed.map(|v| v.to_string()),
        enough: needed.is_some_and(|needed| to.is_some_and(|to| to >= needed)),
        changes,
    }
}

fn claims(old: &[Claim], new: &[Claim]) -> Vec<Change> {
    let mut changes = Vec::new();
    for claim in old.iter().filter(|c| new.iter().all(|n| n.id != c.id)) {
        changes.push(Change { bump: Bump::Major, what: format!("claim {} is gone", claim.id) });
    }
    for claim in new {
        let id = &claim.id;
        let Some(before) = old.iter().find(|o| o.id == *id) else {
            changes.push(Change { bump: Bump::Minor, what: format!("claim {id} is new") });
            continue;
        };
        if before.prediction != claim.prediction {
            let what = format!("claim {id} predicts {} instead of {}", claim.prediction, before.prediction);
            changes.push(Change { bump: Bump::Major, what });
        } else if definition(before) != definition(claim) {
            changes.push(Change { bump: Bump::Major, what: format!("claim {id} measures something else") });
        }
        if before.depends_on != claim.depends_on {
            changes.push(Change { bump: Bump::Major, what: format!("claim {id} depends on something else") });
        }
        if (&before.statement, &before.if_refuted) != (&claim.statement, &claim.if_refuted) {
            changes.push(Change { bump: Bump::Patch, what: format!("wording of claim {id}") });
        }
    }
    changes
}

type Named = BTreeMap<String, String>;

fn gates(c: &Contract) -> Named {
    c.gates.iter().map(|g| (g.id.clone(), format!("{:?} {:?}", g.claims, g.gates))).collect()
}

fn obligations(c: &Contract) -> Named {
    let all = c.proof_obligations.iter();
    all.map(|o| {
        (o.id.clone().unwrap_or_else(|| o.property.clone()), format!("{:?} {:?} {:?}", o.sort, o.formal, o.tolerance))
    })
    .collect()
}

fn equations(c: &Contract) -> Named {
    c.equations.0.iter().map(|(name, e)| (name.clone(), format!("{} {:?}", e.formula, e.float_tolerance))).collect()
}

fn tests(c: &Contract) -> Named {
    c.falsification_tests.iter().map(|t| (t.id.clone(), t.prediction.clone())).collect()
}

fn named(what: &str, old: Named, new: Named) -> Vec<Change> {
    let change = |bump, what| Change { bump, what };
    let gone = old.keys().filter(|k| !new.contains_key(*k)).map(|k| change(Bump::Major, format!("{what} {k} is gone")));
    let others = new.iter().filter_map(|(k, v)| match old.get(k) {
        None => Some(change(Bump::Minor, format!("{what} {k} is new"))),
        Some(before) if before != v => Some(change(Bump::Major, format!("{what} {k} is another"))),
        Some(_) => None,
    });
    gone.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_plain_numbers() {
        assert_eq!(Version::parse("1.13.0"), Some(Version(1, 13, 0)));
        assert!(Version(1, 9, 9) < Version(1, 13, 0));
        for bad in ["", "1", "1.0", "1.0.0.0", "1.0.x", "01.0.0", "1.0.-1", "v1.0.0", "1.0.99999999999"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        assert_eq!(Version(1, 2, 3).raised(Bump::Minor), Version(1, 3, 0));
    }
}
