//! The next token from the logits.
//!
//! The filters run in the order of llama.cpp's default chain: repetition penalty, top-k, top-p, min-p, temperature, then
//! one draw. So top-p and min-p judge the probabilities at temperature 1. All arithmetic is f64 in a fixed order with
//! our own generator and libm's `exp`, so that one seed gives the same tokens on every machine.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use crate::rng::SplitMix64;

/// How to choose. `Default` is greedy, with every filter off.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits before the draw; 0 takes the best token, the first of equals.
    pub temperature: f64,
    /// How many of the best tokens stay; 0 keeps all. Of equals the lower id stays.
    pub top_k: usize,
    /// In (0, 1]: the best tokens stay until their probabilities reach this sum; 1 keeps all.
    pub top_p: f64,
    /// In [0, 1]: tokens stay whose probability is at least this part of the best one's; 0 keeps all.
    pub min_p: f64,
    /// Above 0: logits of recent tokens are divided by it if positive, else multiplied; 1 changes nothing.
    pub repetition_penalty: f64,
    /// How many of the last tokens count as recent; 0 for none.
    pub repeat_last_n: usize,
    /// Names the stream of random numbers.
    pub seed: u64,
}

impl Default for SamplingParams {
    fn default() -> SamplingParams {
        SamplingParams {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repeat_last_n: 64,
            seed: 0,
        }
    }
}

/// Why no token can be chosen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// A parameter has no meaning.
    #[error("{name} is {value}; it must be {range}")]
    Parameter {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A logit is NaN or +inf: the run that made it is broken.
    #[error("the logit of token {id} is {value}; the run that made it is broken, so no token is chosen")]
    Logit {
        /// The token.
        id: usize,
        /// NaN or +inf.
        value: f32,
    },
    /// No token has a logit above -inf.
    #[error("no token can be chosen among {0} logits: there are none above -inf")]
    Nothing(usize),
    /// The history holds a token that the logits do not have.
    #[error("token {id} was observed, but there are only {logits} logits")]
    Unknown {
        /// The token.
        id: u32,
        /// How many logits there are.
        logits: usize,
    },
}

impl SamplingParams {
    /// # Errors
    /// The first parameter out of its range.
    fn check(&self) -> Result<(), SamplingError> {
        let in_range = [
            (
                "temperature",
                self.temperature,
                "0 or a finite positive number",
                (0.0..f64::INFINITY).contains(&self.temperature),
            ),
            ("top_p", self.top_p, "above 0 and at most 1", self.top_p > 0.0 && self.top_p <= 1.0),
            ("min_p", self.min_p, "from 0 to 1", (0.0..=1.0).contains(&self.min_p)),
            (
                "repetition_penalty",
                self.repetition_penalty,
                "a finite positive number",
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
            ),
        ];
        match in_range.into_iter().find(|(.., ok)| !ok) {
            Some((name, value, range, _)) => Err(SamplingError::Parameter { name, value, range }),
            None => Ok(()),
        }
    }
}

/// A token that may be chosen, and its logit after the penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    id: u32,
    logit: f64,
}

/// Chooses tokens; remembers the recent ones and its place in the random stream.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    rng: SplitMix64,
    recent: VecDeque<u32>,
}

impl Sampler {
    /// A sampler at the start of its seed's stream.
    ///
    /// # Errors
    /// A parameter out of its range.
    pub fn new(params: SamplingParams) -> Result<Sampler, SamplingError> {
        params.check()?;
        Ok(Sampler { rng: SplitMix64::new(params.seed), recent: VecDeque::new(), params })
    }

    /// Lets prompt tokens count for the repetition penalty.
    pub fn observe(&mut self, tokens: &[u32]) {
        for &token in tokens {
            self.recent.push_back(token);
            if self.recent.len() > self.params.repeat_last_n {
                self.recent.pop_front();
            }
        }
    }

    /// The next token, one logit for each id; it is remembered as if observed. Greedy choice draws no random number.
    ///
    /// # Errors
    /// A NaN or +inf among the logits, none above -inf, or fewer logits than an observed id needs.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, SamplingError> {
        check(logits)?;
        self.known(logits.len())?;
        let greedy = self.params.temperature == 0.0;
        let token = if greedy && self.params.repetition_penalty == 1.0 {
            first_of_largest(logits)?
        } else {
            let mut candidates = candidates(logits)?;
            self.penalise(&mut candidates);
            if greedy { best(&candidates) } else { self.draw(candidates) }
        };
        self.observe(&[token]);
        Ok(token)
    }

    /// # Errors
    /// A recent token without a logit.
    fn known(&self, logits: usize) -> Result<(), SamplingError> {
        match self.recent.iter().find(|id| **id as usize >= logits) {
            Some(&id) => Err(SamplingError::Unknown { id, logits }),
            None => Ok(()),
        }
    }

    /// Each recent token once, however often it occurred.
    fn penalise(&self, candidates: &mut [Candidate]) {
        let penalty = self.params.repetition_penalty;
        let recent: BTreeSet<u32> = self.recent.iter().copied().collect();
        for id in recent {
            let Ok(at) = candidates.binary_search_by_key(&id, |c| c.id) else { continue };
            let logit = &mut candidates[at].logit;
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }

    fn draw(&mut self, candidates: Vec<Candidate>) -> u32 {
        let kept = filter(candidates, &self.params);
        let weights = weights(&kept, self.params.temperature);
        let target = self.rng.next_f64() * sum(&weights);
        let mut reached = 0.0;
        for (candidate, weight) in kept.iter().zip(&weights) {
            reached += weight;
            if target < reached {
                return candidate.id;
            }
        }
        // The product can round up to the sum itself.
        let last = weights.iter().rposition(|weight| *weight > 0.0);
        kept[last.unwrap_or(0)].id
    }
}

/// # Errors
/// A NaN or +inf.
fn check(logits: &[f32]) -> Result<(), SamplingError> {
    let broken = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    // All are looked at first, because a search that may end anywhere is made one by one.
    if !logits.iter().fold(false, |any, logit| any | broken(logit)) {
        return Ok(());
    }
    let id = logits.iter().position(broken).unwrap_or_default();
    Err(SamplingError::Logit { id, value: logits[id] })
}

/// The best token as it stands, the first of equals: what [`best`] finds among all candidates.
fn first_of_largest(logits: &[f32]) -> Result<u32, SamplingError> {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = logits.as_chunks::<16>();
    let mut most = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for l in 0..16 {
            most[l] = larger(most[l], chunk[l]);
        }
    }
    let most = most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger);
    let first = logits.iter().zip(0..).find(|(logit, _)| **logit == most && most > f32::NEG_INFINITY);
    first.map(|(_, id)| id).ok_or(SamplingError::Nothing(logits.len()))
}

/// All tokens with a logit above -inf, by id.
fn candidates(logits: &[f32]) -> Result<Vec<Candidate>, SamplingError> {
    let all = logits.iter().zip(0u32..).map(|(&logit, id)| Candidate { id, logit: f64::from(logit) });
    let possible: Vec<Candidate> = all.filter(|c| c.logit > f64::NEG_INFINITY).collect();
    if possible.is_empty() { Err(SamplingError::Nothing(logits.len())) } else { Ok(possible) }
}

/// Better logits first, equal ones by id.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

fn best(candidates: &[Candidate]) -> u32 {
    candidates.iter().min_by(|a, b| order(a, b)).map_or(0, |c| c.id)
}

/// Top-k, top-p and min-p, in that order; what stays is sorted, and is never empty.
fn filter(mut candidates: Vec<Candidate>, params: &SamplingParams) -> Vec<Candidate> {
    if params.top_k > 0 && params.top_k < candidates.len() {
        candidates.select_nth_unstable_by(params.top_k, order);
        candidates.truncate(params.top_k);
    }
    candidates.sort_unstable_by(order);
    if params.top_p < 1.0 {
        let weights = weights(&candidates, 1.0);
        let enough = params.top_p * sum(&weights);
        let mut reached = 0.0;
        let reaches = |weight: &f64| {
            reached += weight;
            reached >= enough
        };
        let kept = weights.iter().position(reaches).map_or(candidates.len(), |last| last + 1);
        candidates.truncate(kept);
    }
    if params.min_p > 0.0 {
        let weights = weights(&candidates, 1.0);
        candidates.truncate(weights.partition_point(|weight| *weight >= params.min_p));
    }
    candidates
}

/// Probabilities relative to the best one's, for candidates in order: 1 first, then falling.
fn weights(candidates: &[Candidate], temperature: f64) -> Vec<f64> {
    let best = candidates[0].logit;
    candidates.iter().map(|c| libm::exp((c.logit - best) / temperature)).collect()
}

/// From first to last.
fn sum(weights: &[f64]) -> f64 {
    weights.iter().fold(0.0, |sum, weight| sum + weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities 1/2, 1/4, 1/8, 1/16, 1/16 at ids 3, 1, 0, 2, 4.
    fn logits() -> Vec<f32> {
        [0.125f64, 0.25, 0.0625, 0.5, 0.0625].iter().map(|p| libm::log(*p) as f32).collect()
    }

    fn kept(params: &SamplingParams) -> Vec<u32> {
        filter(candidates(&logits()).unwrap(), params).iter().map(|c| c.id).collect()
    }

    #[test]
    fn each_filter_keeps_what_a_hand_count_keeps() {
        let off = SamplingParams::default();
        assert_eq!(kept(&off), [3, 1, 0, 2, 4]);
        assert_eq!(kept(&SamplingParams { top_k: 2, ..off.clone() }), [3, 1]);
        assert_eq!(kept(&SamplingParams { top_k: 4, ..off.clone() }), [3, 1, 0, 2], "of equals the lower id");
        assert_eq!(kept(&SamplingParams { top_k: 99, ..off.clone() }), [3, 1, 0, 2, 4]);
        assert_eq!(kept(&SamplingParams { top_p: 0.7, ..off.clone() }), [3, 1], "1/2 + 1/4 is the first sum >= 0.7");
        assert_eq!(kept(&SamplingParams { top_p: 0.76, ..off.clone() }), [3, 1, 0]);
        assert_eq!(kept(&SamplingParams { top_p: 1e-9, ..off.clone() }), [3], "never empty");
        assert_eq!(
            kept(&SamplingParams { min_p: 0.2, ..off.clone() }),
            [3, 1, 0],
            "relative to 1/2: 1, 1/2, 1/4 | 1/8"
        );
        assert_eq!(kept(&SamplingParams { min_p: 1.0, ..off.clone() }), [3]);
        assert_eq!(kept(&SamplingParams { top_p: 0.749, ..off.clone() }), [3, 1]);
        assert_eq!(kept(&SamplingParams { top_p: 0.751, ..off.clone() }), [3, 1, 0]);
        // Of the two that top-k leaves, 2/3 + 1/3, the first alone reaches 0.6; without top-k it would not.
        assert_eq!(kept(&SamplingParams { top_p: 0.6, ..off.clone() }), [3, 1]);
        assert_eq!(kept(&SamplingParams { top_k: 2, top_p: 0.6, ..off }), [3]);
    }

    #[test]
    fn a_sum_that_is_exactly_top_p_is_enough_and_a_part_that_is_exactly_min_p_stays() {
        // Two equal logits: the weights are 1 and 1 without rounding.
        let both = || candidates(&[1.5, 1.5]).unwrap();
        let half = SamplingParams { top_p: 0.5, ..SamplingParams::default() };
        assert_eq!(filter(both(), &half).len(), 1);
        let equal = SamplingParams { min_p: 1.0, ..SamplingParams::default() };
        assert_eq!(filter(both(), &equal).len(), 2);
    }

    #[test]
    fn temperature_comes_after_the_filters() {
        // At temperature 8 the probabilities are nearly equal, and top-p 0.7 would keep four.
        let hot = SamplingParams { temperature: 8.0, top_p: 0.7, ..SamplingParams::default() };
        assert_eq!(kept(&hot), [3, 1]);
    }

    #[test]
    fn the_penalty_divides_positive_and_multiplies_negative_logits_once() {
        let params = SamplingParams { repetition_penalty: 2.0, repeat_last_n: 3, ..SamplingParams::default() };
        let mut sampler = Sampler::new(params).unwrap();
        sampler.observe(&[3, 0, 1, 1]);
        let mut all = candidates(&[4.0, -4.0, 1.0, 3.0]).unwrap();
        sampler.penalise(&mut all);
        // 3 has left the window of three.
        assert_eq!(all.iter().map(|c| c.logit).collect::<Vec<_>>(), [2.0, -8.0, 1.0, 3.0]);
        assert_eq!(sampler.sample(&[4.0, -4.0, 1.0, 3.0]), Ok(3));
        assert_eq!(sampler.sample(&[1.0]), Err(SamplingError::Unknown { id: 1, logits: 1 }));
    }

    #[test]
    fn the_greedy_way_without_a_penalty_finds_the_best_candidate() {
        let mut rng = SplitMix64::new(5);
        for n in 1..70 {
            // Few values, so that there are equals; zeros of both signs are equal too.
            let values = [f32::NEG_INFINITY, -2.0, -0.0, 0.0, 1.5];
            let logits: Vec<f32> = (0..n).map(|_| values[(rng.next_f64() * 5.0) as usize]).collect();
            let all = candidates(&logits).map(|all| best(&all));
            assert_eq!(first_of_largest(&logits), all, "{logits:?}");
        }
        let mut sampler = Sampler::new(SamplingParams::default()).unwrap();
        assert_eq!(sampler.sample(&[0.0, f32::NEG_INFINITY, 2.0, 2.0]), Ok(2));
        let broken = sampler.sample(&[0.0, f32::INFINITY, f32::NAN]);
        assert_eq!(broken, Err(SamplingError::Logit { id: 1, value: f32::INFINITY }));
    }
}
