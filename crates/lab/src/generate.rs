//! Text generation along one path.

use std::time::{Duration, Instant};

use twinpath_engine::sampling::{Sampler, SamplingParams};
use twinpath_engine::{Elem, Model, NoProbe, Numerics, Rows, Session};

use crate::error::LabError;
use crate::side::Arithmetic;

/// Positions of a prompt that are run at once. Bits do not depend on it; memory does.
const PROMPT_PIECE: usize = 128;

/// What to generate.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// Tokens to generate at most.
    pub tokens: usize,
    /// How to choose each.
    pub sampling: SamplingParams,
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// As many tokens as were asked for.
    Length,
    /// The model ended its answer.
    EndOfGeneration,
    /// The context is full.
    Context,
    /// The caller's wish.
    Caller,
}

/// What was generated, and how fast.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The new tokens, an end token not included.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
    /// Time of the prompt.
    pub prefill: Duration,
    /// Time of the new tokens.
    pub decode: Duration,
}

/// Continues `prompt`; `sink` sees each token as it comes and answers whether to go on.
///
/// # Errors
/// When the prompt does not fit the model, or a logit is not a number.
pub fn generate(
    model: &Model,
    arithmetic: &Arithmetic,
    prompt: &[u32],
    options: &GenerateOptions,
    is_end: &dyn Fn(u32) -> bool,
    sink: &mut dyn FnMut(u32) -> bool,
) -> Result<Generated, LabError> {
    match arithmetic {
        Arithmetic::Oracle(oracle) => along(model, oracle, prompt, options, is_end, sink),
        Arithmetic::Path(path) => along(model, path.as_ref(), prompt, options, is_end, sink),
    }
}

fn along<N: Numerics + ?Sized>(
    model: &Model,
    numerics: &N,
    prompt: &[u32],
    options: &GenerateOptions,
    is_end: &dyn Fn(u32) -> bool,
    sink: &mut dyn FnMut(u32) -> bool,
) -> Result<Generated, LabError> {
    model.check_tokens(prompt, 0)?;
    let mut sampler = Sampler::new(options.sampling.clone())?;
    sampler.observe(prompt);
    let mut session = Session::new(model, numerics);
    let start = Instant::now();
    let mut logits = Vec::new();
    for piece in prompt.chunks(PROMPT_PIECE) {
        logits = last_row(&session.forward(piece, Rows::Last, &mut NoProbe)?);
    }
    let prefill = start.elapsed();
    let mut history = prompt.to_vec();
    let start = Instant::now();
    let stop = loop {
        if history.len() - prompt.len() == options.tokens {
            break Stop::Length;
        }
        let token = sampler.sample(&logits)?;
        if is_end(token) {
            break Stop::EndOfGeneration;
        }
        history.push(token);
        if !sink(token) {
            break Stop::Caller;
        }
        if history.len() > model.config().context {
            break Stop::Context;
        }
        if history.len() - prompt.len() < options.tokens {
            logits = last_row(&session.forward(&[token], Rows::Last, &mut NoProbe)?);
        }
    };
    Ok(Generated { tokens: history.split_off(prompt.len()), stop, prefill, decode: start.elapsed() })
}

fn last_row<E: Elem>(logits: &twinpath_engine::Tensor<E>) -> Vec<f32> {
    logits.row(logits.rows() - 1).iter().map(|x| x.to_f64() as f32).collect()
}
