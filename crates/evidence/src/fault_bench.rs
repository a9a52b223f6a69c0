//! What planted faults, faithful runs and harmless changes showed of each detector.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;

/// Some of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub hits: u64,
    /// Of how many.
    pub of: u64,
}

impl Rate {
    /// Counts one more.
    pub fn add(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.of += 1;
    }

    /// Counts all of another.
    pub fn merge(&mut self, other: Rate) {
        self.hits += other.hits;
        self.of += other.of;
    }

    /// The share; NaN of nothing.
    pub fn share(self) -> f64 {
        self.hits as f64 / self.of as f64
    }

    /// Exact 95 % interval of the rate behind it (Clopper and Pearson 1934). `None` of nothing.
    pub fn interval(self) -> Option<(f64, f64)> {
        let (k, n) = (self.hits as f64, self.of as f64);
        if self.of == 0 {
            return None;
        }
        let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).ok().map(|beta| beta.inverse_cdf(p));
        let low = if self.hits == 0 { Some(0.0) } else { quantile(k, n - k + 1.0, 0.025) };
        let high = if self.hits == self.of { Some(1.0) } else { quantile(k + 1.0, n - k, 0.975) };
        low.zip(high)
    }
}

/// Everything that the benchmark found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultBench {
    /// Version of this layout.
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// What the sampling began with.
    pub seed: u64,
    /// Whether it was the short form.
    pub quick: bool,
    /// A fault counts as above the limit if it moves an element by this many times what is convicted there.
    pub above: f64,
    /// Models, with their weights' types.
    pub models: Vec<String>,
    /// Replay and the rules that it is compared with.
    pub detectors: Vec<DetectorScore>,
    /// Kinds of faults.
    pub classes: Vec<ClassScore>,
    /// Runs in which nothing is wrong.
    pub controls: Vec<ControlScore>,
    /// What replay said at the site of faults below its limit.
    pub below: Vec<(String, u64)>,
}

/// One way of finding faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorScore {
    /// Its name.
    pub name: String,
    /// What it flags.
    pub rule: String,
    /// Faults above the limit in whose run it flags a site that it does not flag without the fault.
    pub detected: Rate,
    /// The first such site is the fault's.
    pub exact: Rate,
    /// It is in the fault's layer.
    pub layer: Rate,
    /// The fault's site is among the first three.
    pub top3: Rate,
    /// The mistake is named, of those that the catalogue knows; a rule that names none has none.
    pub named: Rate,
    /// Sites flagged in runs in which nothing is wrong.
    pub false_positives: Rate,
    /// Exact 95 % interval of that rate.
    pub interval: Option<(f64, f64)>,
}

/// One kind of fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Its name.
    pub class: String,
    /// The suspect that should be named; none: the catalogue does not know it.
    pub suspect: Option<String>,
    /// Faults planted.
    pub planted: u64,
    /// Of those above the limit: detected.
    pub detected: Rate,
    /// First unexplained at the fault's own site.
    pub exact: Rate,
    /// Named.
    pub named: Rate,
    /// What was named instead, or not, fault by fault: `model, parameter, site: what`.
    pub misses: Vec<String>,
}

/// Runs in which nothing is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlScore {
    /// What they are.
    pub control: String,
    /// How many.
    pub runs: u64,
    /// Sites that replay blames.
    pub blamed: Rate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_clopper_and_pearson() {
        // Textbook values: 0 of 10 is 0 to 0.3085, 5 of 10 is 0.1871 to 0.8129.
        let of = |hits, of| Rate { hits, of }.interval().unwrap();
        assert!(of(0, 10).0 == 0.0 && (of(0, 10).1 - 0.3085).abs() < 1e-4);
        assert!((of(5, 10).0 - 0.1871).abs() < 1e-4 && (of(5, 10).1 - 0.8129).abs() < 1e-4);
        assert!(of(10, 10).1 == 1.0 && (of(10, 10).0 - 0.6915).abs() < 1e-4);
        assert_eq!(Rate::default().interval(), None);
    }
}
