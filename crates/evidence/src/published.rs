//! Published figures, computed again.

use serde::{Deserialize, Serialize};

/// Whether a published figure came out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reproduced {
    /// Every published digit and, where there are any, every bit.
    Match,
    /// A digit or a bit differs.
    Differs,
    /// Not computed for want of something. Never a match.
    Skipped,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RowFields")]
pub struct Row {
    /// What it is.
    pub figure: String,
    /// As it was published, or as a second implementation has it where it was not.
    pub expected: String,
    /// The published bits of the f32, in hexadecimal.
    pub expected_bits: Option<String>,
    /// What we computed, printed the same way.
    pub computed: Option<String>,
    /// Bits of the computed f32, in hexadecimal.
    pub bits: Option<String>,
    /// What it needs, if it was not computed.
    pub needs: Option<String>,
    reproduced: Reproduced,
}

#[derive(Deserialize)]
struct RowFields {
    figure: String,
    expected: String,
    expected_bits: Option<String>,
    computed: Option<String>,
    bits: Option<String>,
    needs: Option<String>,
}

impl From<RowFields> for Row {
    fn from(f: RowFields) -> Row {
        let reproduced = match &f.computed {
            None => Reproduced::Skipped,
            Some(computed) if *computed != f.expected => Reproduced::Differs,
            Some(_) if f.expected_bits.is_some() && f.expected_bits != f.bits => Reproduced::Differs,
            Some(_) => Reproduced::Match,
        };
        let RowFields { figure, expected, expected_bits, computed, bits, needs } = f;
        Row { figure, expected, expected_bits, computed, bits, needs, reproduced }
    }
}

/// Eight hexadecimal digits.
fn hex(bits: u32) -> String {
    format!("0x{bits:08x}")
}

impl Row {
    /// A figure whose digits are to come out again: `value`, printed by `print`.
    pub fn digits(figure: &str, expected: &str, value: f32, print: impl Fn(f32) -> String) -> Row {
        Row::of(figure, expected, None, Some((print(value), Some(value))), None)
    }

    /// A figure whose bits are to come out again too.
    pub fn bits(figure: &str, expected: &str, bits: u32, value: f32, print: impl Fn(f32) -> String) -> Row {
        Row::of(figure, expected, Some(bits), Some((print(value), Some(value))), None)
    }

    /// Something that is no number.
    pub fn words(figure: &str, expected: &str, computed: &str) -> Row {
        Row::of(figure, expected, None, Some((computed.to_owned(), None)), None)
    }

    /// A figure that cannot be computed without `needs`.
    pub fn skipped(figure: &str, expected: &str, bits: Option<u32>, needs: &str) -> Row {
        Row::of(figure, expected, bits, None, Some(needs.to_owned()))
    }

    fn of(
        figure: &str,
        expected: &str,
        bits: Option<u32>,
        computed: Option<(String, Option<f32>)>,
        needs: Option<String>,
    ) -> Row {
        let (computed, value) = computed.unzip();
        RowFields {
            figure: figure.to_owned(),
            expected: expected.to_owned(),
            expected_bits: bits.map(hex),
            computed,
            bits: value.flatten().map(|x| hex(x.to_bits())),
            needs,
        }
        .into()
    }

    /// Whether it came out again.
    pub fn reproduced(&self) -> Reproduced {
        self.reproduced
    }
}

/// The published rule from a statistic to words: the first step that it exceeds decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What is looked at.
    pub statistic: String,
    /// From the highest to the lowest.
    pub steps: Vec<Step>,
    /// What it says below all steps.
    pub otherwise: String,
}

/// One step of a [`Rule`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Exceeded, not met.
    pub above: f64,
    /// What it says then.
    pub says: String,
}

impl Rule {
    /// A rule from `(above, says)`, the highest first.
    pub fn new(statistic: &str, steps: &[(f64, &str)], otherwise: &str) -> Rule {
        let steps = steps.iter().map(|(above, says)| Step { above: *above, says: (*says).to_owned() }).collect();
        Rule { statistic: statistic.to_owned(), steps, otherwise: otherwise.to_owned() }
    }

    /// What it says of `x`. NaN exceeds nothing.
    pub fn says(&self, x: f64) -> &str {
        self.steps.iter().find(|s| x > s.above).map_or(&self.otherwise, |s| &s.says)
    }
}

/// One published experiment, computed again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedRecord {
    /// Our experiment.
    pub id: String,
    /// Its published number, `008`.
    pub number: String,
    /// The title that it was published under.
    pub title: String,
    /// The published rule.
    pub rule: Rule,
    /// What the rule says of what we computed; absent where nothing was computed.
    pub rule_says: Option<String>,
    /// Its figures.
    pub rows: Vec<Row>,
    /// What a reader should know of it.
    pub notes: Vec<String>,
}

impl PublishedRecord {
    /// One phrase: what the rule says, and the title where it says something else.
    pub fn phrase(&self) -> String {
        match &self.rule_says {
            None => format!("skipped (title: {})", self.title),
            Some(says) if self.title.to_uppercase().contains(&says.to_uppercase()) => says.clone(),
            Some(says) => format!("{says} (title: {})", self.title),
        }
    }
}

/// All published figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// Version of this layout.
    pub schema: u32,
    /// In the order of the list.
    pub experiments: Vec<PublishedRecord>,
    /// Figures that came out again.
    pub matched: usize,
    /// Figures that did not.
    pub differing: usize,
    /// Figures not computed.
    pub skipped: usize,
}

impl Reproduction {
    /// Counts what came out.
    pub fn new(experiments: Vec<PublishedRecord>) -> Reproduction {
        let rows = || experiments.iter().flat_map(|e| &e.rows);
        let count = |r| rows().filter(|row| row.reproduced == r).count();
        let (matched, differing, skipped) =
            (count(Reproduced::Match), count(Reproduced::Differs), count(Reproduced::Skipped));
        Reproduction { schema: crate::experiment::SCHEMA, experiments, matched, differing, skipped }
    }

    /// Exit code: 1 a figure differs, 3 none was computed, 0 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            _ if self.differing > 0 => 1,
            _ if self.matched == 0 => 3,
            _ => 0,
        }
    }
}
