//! Before and after: whether a policy on both sides closes their gap, on the prompts it was made on and on others.

use twinpath_engine::Model;
use twinpath_engine::sampling::SamplingParams;
use twinpath_evidence::fix::{Extent, SCHEMA};
use twinpath_evidence::{Fix, FixVerdict, GapSum, Tried, Verdict};

use crate::Progress;
use crate::compare::{CompareOptions, OracleChoice, compare, different_weights, provenance};
use crate::error::LabError;
use crate::explain::floor;
use crate::generate::{GenerateOptions, generate};
use crate::party::{Party, Source};
use crate::side::Arithmetic;

/// Both sides under one policy.
pub struct Try<'t> {
    /// The policy's name.
    pub policy: String,
    /// A and B.
    pub sides: [Party<'t>; 2],
}

/// What a fix is made on, and what it is tried on.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Prompts that are seen.
    pub seen: Vec<Vec<u32>>,
    /// Other prompts, with positions beyond those of the seen ones.
    pub held_out: Vec<Vec<u32>>,
}

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct FixOptions {
    /// Chance of calling a faithful value unexplained, in the whole run.
    pub alpha: f64,
    /// Tokens to decode in each measurement of speed; 0 for none.
    pub decode: usize,
    /// Hash the model files into the record.
    pub hash: bool,
}

/// Rounds of a measurement of speed; the median counts.
const ROUNDS: usize = 5;

/// Compares two sides as they are and under each policy, over all inputs, and judges what is left.
///
/// # Errors
/// When the tokens do not fit a model, or there are no inputs of one of the two kinds.
pub fn fix(
    before: &[Party<'_>; 2],
    tries: &[Try<'_>],
    inputs: &Inputs,
    options: FixOptions,
    progress: Progress<'_>,
) -> Result<Fix, LabError> {
    for (kind, prompts) in [("seen", &inputs.seen), ("held-out", &inputs.held_out)] {
        if prompts.is_empty() {
            return Err(LabError::NoPrompts { kind });
        }
    }
    let prompts = inputs.seen.len() + inputs.held_out.len();
    let runs = ((1 + tries.len()) * prompts) as u64;
    let mut bench = Bench { alpha: options.alpha / runs as f64, done: 0, runs, progress };
    let mut all = GapSum::default();
    bench.add(&mut all, before, &inputs.seen)?;
    bench.add(&mut all, before, &inputs.held_out)?;
    let before_gap = all.finish();
    let speeds = speeds(tries, &inputs.seen[0], options.decode)?;
    let mut tried = Vec::new();
    for (t, speed) in tries.iter().zip(speeds) {
        let (mut seen, mut held_out) = (GapSum::default(), GapSum::default());
        bench.add(&mut seen, &t.sides, &inputs.seen)?;
        bench.add(&mut held_out, &t.sides, &inputs.held_out)?;
        let (seen, held_out) = (seen.finish(), held_out.finish());
        let verdict = FixVerdict::of(&before_gap, &seen, &held_out);
        let accepted = seen.is_accepted() && held_out.is_accepted();
        tried.push(Tried { policy: t.policy.clone(), seen, held_out, verdict, accepted, speed });
    }
    let extent = |prompts: &[Vec<u32>]| Extent {
        prompts: prompts.len(),
        tokens: prompts.iter().map(Vec::len).sum(),
        positions: prompts.iter().map(Vec::len).max().unwrap_or(0),
    };
    Ok(Fix {
        schema: SCHEMA,
        provenance: provenance(&[&before[0], &before[1]], options.hash)?,
        a: before[0].info(),
        b: before[1].info(),
        seen: extent(&inputs.seen),
        held_out: extent(&inputs.held_out),
        before: before_gap,
        tried,
        alpha: options.alpha,
    })
}

/// Comparisons of one run.
struct Bench<'p> {
    /// Of one comparison.
    alpha: f64,
    done: u64,
    runs: u64,
    progress: Progress<'p>,
}

impl Bench<'_> {
    fn add(&mut self, sum: &mut GapSum, sides: &[Party<'_>; 2], prompts: &[Vec<u32>]) -> Result<(), LabError> {
        for tokens in prompts {
            (self.progress)(self.done, self.runs);
            let options = CompareOptions {
                oracle: OracleChoice::Auto,
                layers: OracleChoice::Off,
                hash: false,
                replay: Some(self.alpha),
                statistical: false,
            };
            let record = compare(&sides[0], &sides[1], tokens, options, &mut |_, _| {})?;
            let judged = record.judgement.as_ref();
            let faulty = judged.is_some_and(|j| matches!(j.verdict, Verdict::Unexplained { .. }));
            let floor = if faulty { self.floor(sides, tokens)? } else { None };
            sum.add(&record, floor);
            self.done += 1;
        }
        (self.progress)(self.done, self.runs);
        Ok(())
    }

    /// What the gap would be if both sides were as they declare; `None` where they are not two arithmetics on one set of
    /// weights.
    fn floor(&self, sides: &[Party<'_>; 2], tokens: &[u32]) -> Result<Option<f64>, LabError> {
        let [Source::Model(model, a), Source::Model(other, b)] = [&sides[0].source, &sides[1].source] else {
            return Ok(None);
        };
        if !different_weights(model, other).is_empty() {
            return Ok(None);
        }
        floor(model, a, b, tokens, self.alpha).map(Some)
    }
}

/// Decoding speed of B's side of each try over that of the first.
fn speeds(tries: &[Try<'_>], prompt: &[u32], tokens: usize) -> Result<Vec<Option<f64>>, LabError> {
    let mut sides = Vec::new();
    for t in tries {
        let Source::Model(model, arithmetic) = t.sides[1].source else { return Ok(vec![None; tries.len()]) };
        sides.push((model, arithmetic));
    }
    decode_ratios(&sides, prompt, tokens)
}

/// Tokens decoded per second along each arithmetic over those of the first: the median of [`ROUNDS`] rounds in which all
/// take turns. None where there is nothing to decode or to compare with.
pub(crate) fn decode_ratios(
    sides: &[(&Model, &Arithmetic)],
    prompt: &[u32],
    tokens: usize,
) -> Result<Vec<Option<f64>>, LabError> {
    if tokens == 0 || sides.len() < 2 {
        return Ok(vec![None; sides.len()]);
    }
    let options = GenerateOptions { tokens, sampling: SamplingParams::default() };
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); sides.len()];
    for _ in 0..ROUNDS {
        let mut first = None;
        for (ratios, (model, arithmetic)) in ratios.iter_mut().zip(sides) {
            let made = generate(model, arithmetic, prompt, &options, &|_| false, &mut |_| true)?;
            let rate = made.tokens.len() as f64 / made.decode.as_secs_f64().max(1e-9);
            ratios.push(rate / *first.get_or_insert(rate));
        }
    }
    let median = |mut r: Vec<f64>| {
        r.sort_by(f64::total_cmp);
        r.get(r.len() / 2).copied()
    };
    Ok(ratios.into_iter().map(median).collect())
}
