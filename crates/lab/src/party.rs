//! What stands on one side of a comparison: a model along an arithmetic, or a recording.

use std::ops::Range;

use twinpath_engine::{Config, Model};
use twinpath_evidence::SideInfo;
use twinpath_paths::Path;

use crate::cut::Cut;
use crate::judge::Replay;
use crate::recorded::{Arithmetic as RecordedArithmetic, RecordedSide};
use crate::side::{Arithmetic, Side};
use crate::trace::{Trace, TraceSide, tokens};

/// One side of a comparison, not yet run.
pub struct Party<'m> {
    /// As given, `model.gguf@fused-q8k`.
    pub label: String,
    /// What it is.
    pub source: Source<'m>,
}

/// What a side is.
#[derive(Clone, Copy)]
pub enum Source<'m> {
    /// A model along an arithmetic.
    Model(&'m Model, &'m Arithmetic),
    /// A recording.
    Trace(&'m Trace),
}

impl<'m> Party<'m> {
    /// The model, if it is one.
    pub fn model(&self) -> Option<&'m Model> {
        match self.source {
            Source::Model(model, _) => Some(model),
            Source::Trace(_) => None,
        }
    }

    /// The model's shape.
    pub fn config(&self) -> &'m Config {
        match self.source {
            Source::Model(model, _) => model.config(),
            Source::Trace(trace) => &trace.header().config,
        }
    }

    /// Why this side cannot speak of `tokens`; `None` if it can.
    pub fn misses(&self, tokens: &[u32]) -> Option<String> {
        let Source::Trace(trace) = self.source else { return None };
        let header = trace.header();
        tokens::difference(tokens, &header.tokens).map(|why| format!("{} {why}", self.label))
    }

    /// The positions that it can speak of.
    pub(crate) fn positions(&self, tokens: usize) -> Range<usize> {
        match self.source {
            Source::Model(..) => 0..tokens,
            Source::Trace(trace) => {
                let held = trace.header().positions;
                held.first..held.first + held.count
            }
        }
    }

    /// How it names itself in a record.
    pub fn info(&self) -> SideInfo {
        match self.source {
            Source::Model(_, arithmetic) => SideInfo {
                label: self.label.clone(),
                path: arithmetic.name().to_owned(),
                kernels: arithmetic.kernels(),
            },
            Source::Trace(trace) => SideInfo { label: self.label.clone(), ..trace.header().side.clone() },
        }
    }

    /// The files it is read from.
    pub fn files(&self) -> Vec<&'m std::path::Path> {
        match self.source {
            Source::Model(model, _) => model.file().paths(),
            Source::Trace(trace) => vec![trace.path()],
        }
    }

    /// The path that it runs along, if it is a model along a path.
    pub fn path(&self) -> Option<&'m dyn Path> {
        match self.source {
            Source::Model(_, arithmetic) => arithmetic.path(),
            Source::Trace(_) => None,
        }
    }

    /// The recording, if it is one.
    pub fn trace(&self) -> Option<&'m Trace> {
        match self.source {
            Source::Model(..) => None,
            Source::Trace(trace) => Some(trace),
        }
    }

    /// Ready to run over `tokens`; `replay` judges every op of a path as it is made.
    pub fn side(&self, tokens: &'m [u32], replay: Option<Replay<'m>>) -> Box<dyn Side + 'm> {
        match self.source {
            Source::Model(model, arithmetic) => arithmetic.side(model, tokens, replay),
            Source::Trace(trace) => Box::new(TraceSide::new(trace)),
        }
    }

    /// As [`side`](Party::side), at `positions` alone; a recording, which is of these, is judged on its own inputs, with the
    /// weights of `model`.
    pub(crate) fn judged_side(
        &self,
        model: Option<&'m Model>,
        (tokens, positions): (&'m [u32], &Range<usize>),
        arithmetic: Option<RecordedArithmetic<'m>>,
    ) -> Box<dyn Side + 'm> {
        let part = |side| cut(side, positions, tokens.len());
        match (self.source, model, arithmetic) {
            (Source::Trace(_), Some(model), Some(arithmetic)) => {
                let side = RecordedSide::new(model, self.side(tokens, None), tokens, arithmetic);
                Box::new(side.at(positions.clone()))
            }
            (Source::Trace(_), ..) => self.side(tokens, None),
            (Source::Model(..), _, Some(RecordedArithmetic::Path(replay))) => part(self.side(tokens, Some(replay))),
            (Source::Model(..), ..) => part(self.side(tokens, None)),
        }
    }
}

/// The side at these of `tokens` positions.
pub(crate) fn cut<'m>(side: Box<dyn Side + 'm>, positions: &Range<usize>, tokens: usize) -> Box<dyn Side + 'm> {
    if *positions == (0..tokens) { side } else { Box::new(Cut { side, positions: positions.clone() }) }
}

/// The positions that both sides speak of.
///
/// # Errors
/// Why there are none: recordings of unequal positions, or of positions that the prompt has not.
pub(crate) fn positions(a: &Party<'_>, b: &Party<'_>, tokens: usize) -> Result<Range<usize>, String> {
    let span = |held: &Range<usize>| format!("positions {}..{} of {tokens}", held.start, held.end);
    let [of_a, of_b] = [a, b].map(|party| party.positions(tokens));
    for (party, held) in [(a, &of_a), (b, &of_b)] {
        if party.trace().is_some() && (held.is_empty() || held.end > tokens) {
            return Err(format!("{} says that it holds {}", party.label, span(held)));
        }
    }
    match (a.trace(), b.trace()) {
        (Some(_), Some(_)) if of_a != of_b => {
            let (a, b) = (&a.label, &b.label);
            Err(format!("{a} holds {}, {b} {}: record the same", span(&of_a), span(&of_b)))
        }
        (Some(_), _) => Ok(of_a),
        _ => Ok(of_b),
    }
}
