//! Measured speed: rates of entrants that took turns round by round, their ratios, and what was doubtful.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::provenance::{Machine, Provenance};

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;

/// One run of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Version of this layout.
    pub schema: u32,
    /// What made it; files by their names alone.
    pub provenance: Provenance,
    /// The machine that was measured.
    pub machine: Machine,
    /// The command, files by their names alone.
    pub command: String,
    /// Where the fused paths read weights; absent in records from before there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// In the order of measuring.
    pub groups: Vec<Group>,
    /// Memory of a short run, measured before anything else took memory; absent where the system does not tell.
    pub memory: Option<Memory>,
    /// Doubts.
    pub warnings: Vec<Warning>,
}

/// Where weights are read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Load {
    /// Where the file is mapped.
    Map,
    /// In a copy laid out for the kernels.
    Copy {
        /// Bytes of the copy.
        bytes: u64,
        /// Seconds that it took.
        seconds: f64,
    },
}

/// Entrants that took turns: each ran once in each round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The measure it belongs to, `gemv`.
    pub measure: String,
    /// What was done, `Q4_K 4096 x 4096, out of cache`.
    pub name: String,
    /// Of the rates, `GB/s`.
    pub unit: String,
    /// Rounds.
    pub rounds: usize,
    /// Who took part.
    pub entrants: Vec<Entrant>,
    /// What was asked of them.
    pub ratios: Vec<Ratio>,
}

/// One entrant and its rates over the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entrant {
    /// `fused-q8k`, `read`, `candle`.
    pub name: String,
    /// Threads it had.
    pub threads: usize,
    /// Work by time.
    pub rate: Spread,
}

/// Median and quartiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// A quarter is below.
    pub q1: f64,
    /// Half is below.
    pub median: f64,
    /// Three quarters are below.
    pub q3: f64,
}

impl Spread {
    /// Of at least one value, each a number; quantiles by linear interpolation between order statistics (R's type 7).
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |p: f64| {
            let place = p * last as f64;
            let low = place.floor() as usize;
            sorted[low] + (place - low as f64) * (sorted[(low + 1).min(last)] - sorted[low])
        };
        Some(Spread { q1: at(0.25), median: at(0.5), q3: at(0.75) })
    }

    /// Distance of the quartiles, by the median.
    pub fn relative(&self) -> f64 {
        (self.q3 - self.q1) / self.median
    }
}

/// One entrant against another, round by round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Whose.
    pub of: String,
    /// Against whom.
    pub to: String,
    /// Of what.
    pub quantity: Quantity,
    /// Over the rounds.
    pub ratio: Spread,
    /// What we hold ourselves to, if anything.
    pub target: Option<Target>,
}

/// What a ratio compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantity {
    /// Rates: above 1 is faster.
    Speed,
    /// Times for the same work: above 1 is slower.
    Time,
}

/// A bound on a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `ratio >= bound`.
    AtLeast(f64),
    /// `ratio <= bound`.
    AtMost(f64),
}

/// What a measured ratio says of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// At least three quarters of the rounds were within.
    Yes,
    /// At least three quarters were not.
    No,
    /// Neither.
    Unclear,
}

impl Ratio {
    /// Judges the target; `None` where there is none. What is not a number is never within.
    pub fn held(&self) -> Option<Held> {
        let Spread { q1, q3, .. } = self.ratio;
        let (good, bad) = match self.target? {
            Target::AtLeast(bound) => (crate::within(bound, q1), !crate::within(bound, q3)),
            Target::AtMost(bound) => (crate::within(q3, bound), !crate::within(q1, bound)),
        };
        Some(if good {
            Held::Yes
        } else if bad {
            Held::No
        } else {
            Held::Unclear
        })
    }
}

/// Memory of a short run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The path that ran.
    pub path: String,
    /// Bytes of the model's files.
    pub model: u64,
    /// Largest resident set, bytes.
    pub peak: u64,
    /// Resident memory that is no file's, bytes, at the end of the run.
    pub anonymous: u64,
    /// Positions that were run before it was read.
    pub positions: usize,
}

impl Memory {
    /// What the peak was above the model's own size.
    pub fn beyond_model(&self) -> u64 {
        self.peak.saturating_sub(self.model)
    }
}

/// A doubt about a measurement. Its text ends with what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "doubt", rename_all = "snake_case")]
pub enum Warning {
    /// The quartiles of an entrant are far apart.
    Noisy {
        /// The group.
        group: String,
        /// The entrant.
        entrant: String,
        /// Their distance by the median.
        spread: f64,
    },
    /// Fewer rounds than a median needs.
    FewRounds {
        /// The group.
        group: String,
        /// How many.
        rounds: usize,
    },
    /// Other programs wanted the processor.
    Busy {
        /// Load of the last minute when the run began.
        load: f64,
    },
    /// All threads read memory hardly faster than one.
    LimitLow {
        /// GB/s of one thread.
        one: f64,
        /// GB/s of all.
        all: f64,
    },
    /// Huge pages were asked for and not given.
    SmallPages {
        /// Bytes asked for.
        asked: u64,
        /// Bytes given.
        given: u64,
    },
    /// Something was left out.
    LeftOut {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Noisy { group, entrant, spread } => write!(
                f,
                "{group}: the quartiles of {entrant} are {:.0} % of its median apart: stop other programs, or run under \
                 `chrt -f 50`",
                100.0 * spread
            ),
            Warning::FewRounds { group, rounds } => {
                write!(f, "{group}: only {rounds} rounds: leave --quick out, or take a smaller model")
            }
            Warning::Busy { load } => write!(
                f,
                "the load was {load:.1} before anything was measured: stop other programs, or trust ratios alone"
            ),
            Warning::LimitLow { one, all } => write!(
                f,
                "one thread reads {one:.1} GB/s from memory and all of them {all:.1}: where neighbours use the memory too, \
                 ratios out of cache say little; run again later"
            ),
            Warning::SmallPages { asked, given } => write!(
                f,
                "huge pages were given for {given} of {asked} bytes: set /sys/kernel/mm/transparent_hugepage/enabled to \
                 `madvise`, or free memory"
            ),
            Warning::LeftOut { what, why } => write!(f, "{what} was left out: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(values: &[f64], target: Target) -> Ratio {
        let name = || "x".to_owned();
        let ratio = Spread::of(values).unwrap();
        Ratio { of: name(), to: name(), quantity: Quantity::Speed, ratio, target: Some(target) }
    }

    #[test]
    fn quartiles_are_those_of_r() {
        let s = Spread::of(&[7.0, 1.0, 3.0, 5.0]).unwrap();
        assert_eq!((s.q1, s.median, s.q3), (2.5, 4.0, 5.5));
        assert_eq!(s.relative(), 0.75);
        assert_eq!(Spread::of(&[2.0]).unwrap(), Spread { q1: 2.0, median: 2.0, q3: 2.0 });
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_target_is_held_only_if_the_quartile_on_its_side_is_within() {
        let rounds = [0.9, 1.0, 1.1, 1.2];
        for (target, held) in [
            (Target::AtLeast(0.95), Held::Yes),
            (Target::AtLeast(1.0), Held::Unclear),
            (Target::AtLeast(1.2), Held::No),
            (Target::AtMost(1.2), Held::Yes),
            (Target::AtMost(1.0), Held::Unclear),
            (Target::AtMost(0.9), Held::No),
        ] {
            assert_eq!(ratio(&rounds, target).held(), Some(held), "{target:?}");
        }
    }

    #[test]
    fn what_is_not_a_number_holds_no_target() {
        for target in [Target::AtLeast(0.0), Target::AtMost(9.0)] {
            assert_eq!(ratio(&[f64::NAN; 3], target).held(), Some(Held::No), "{target:?}");
        }
    }
}
