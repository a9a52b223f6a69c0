//! What stands on one side of a comparison: a model along an arithmetic, or a recording.

use twinpath_engine::{Config, Model};
use twinpath_evidence::SideInfo;
use twinpath_paths::Path;

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
        if let Some(why) = tokens::difference(tokens, &header.tokens) {
            return Some(format!("{} {why}", self.label));
        }
        (header.positions.count != tokens.len()).then(|| {
            let (first, end) = (header.positions.first, header.positions.first + header.positions.count);
            format!("{} holds positions {first}..{end} of {}: record all tokens", self.label, tokens.len())
        })
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

    /// As [`side`](Party::side); a recording is judged on its own inputs, with the weights of `model`.
    pub fn judged_side(
        &self,
        model: Option<&'m Model>,
        tokens: &'m [u32],
        arithmetic: Option<RecordedArithmetic<'m>>,
    ) -> Box<dyn Side + 'm> {
        match (self.source, model, arithmetic) {
            (Source::Trace(_), Some(model), Some(arithmetic)) => {
                Box::new(RecordedSide::new(model, self.side(tokens, None), tokens, arithmetic))
            }
            (Source::Model(..), _, Some(RecordedArithmetic::Path(replay))) => self.side(tokens, Some(replay)),
            _ => self.side(tokens, None),
        }
    }
}
