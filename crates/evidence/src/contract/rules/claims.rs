//! Rules about single claims.

use super::{Context, Found, when};
use crate::contract::claim::{Measure, Prediction, SCHEMA};
use crate::contract::status;

/// Fewest tokens with which RoPE turns something and the mask hides something.
const TOKENS: usize = 2;

pub(super) fn extension(c: &Context<'_>) -> Found {
    let contract = c.contract();
    match &contract.twinpath {
        Some(t) => {
            let message = format!("version {} of the extension is not known; this program knows {SCHEMA}", t.schema);
            when(t.schema != SCHEMA, "/twinpath/schema", message)
        }
        None => {
            let used = !contract.claims.is_empty() || !contract.gates.is_empty();
            when(used, "/claims", "claims need a block `twinpath` with `schema: 1`")
        }
    }
}

pub(super) fn empty(c: &Context<'_>) -> Found {
    let nothing = c.contract().claims.is_empty() && c.contract().gates.is_empty();
    when(nothing, "/claims", "the contract promises nothing that can be measured: add a claim or a gate")
}

pub(super) fn words(c: &Context<'_>) -> Found {
    let mut texts: Vec<(String, &str)> = Vec::new();
    let mut found = Vec::new();
    for (i, claim) in c.contract().claims.iter().enumerate() {
        texts.push((format!("/claims/{i}/id"), &claim.id));
        texts.push((format!("/claims/{i}/statement"), &claim.statement));
        texts.push((format!("/claims/{i}/if_refuted"), &claim.if_refuted));
        if let Measure::External(e) = &claim.measure {
            texts.push((format!("/claims/{i}/measure/external/tool"), &e.tool));
            texts.push((format!("/claims/{i}/measure/external/because"), &e.because));
        }
        // An id is also the name of the evidence file.
        let plain = claim.id.chars().all(|x| x.is_ascii_alphanumeric() || "-_.".contains(x));
        if !plain || claim.id.starts_with('.') {
            let message = "an id has letters, digits, `-`, `_` and `.` only, and no `.` first";
            found.push((format!("/claims/{i}/id"), message.to_owned()));
        }
    }
    for (i, gate) in c.contract().gates.iter().enumerate() {
        texts.push((format!("/gates/{i}/id"), &gate.id));
        texts.push((format!("/gates/{i}/demands"), &gate.demands));
    }
    let blank = texts.into_iter().filter(|(_, text)| text.trim().is_empty());
    found.extend(blank.map(|(pointer, _)| (pointer, "this is blank".to_owned())));
    found
}

impl Context<'_> {
    fn extension(&self) -> Option<&crate::contract::Extension> {
        self.contract().twinpath.as_ref()
    }
}

pub(super) fn models(c: &Context<'_>) -> Found {
    let mut found = Vec::new();
    for (name, model) in c.extension().iter().flat_map(|t| &t.models) {
        let pointer = format!("/twinpath/models/{name}");
        let is_hash = |h: &String| h.len() == 64 && h.chars().all(|x| x.is_ascii_hexdigit() && !x.is_ascii_uppercase());
        match &model.blake3 {
            Some(hash) if !is_hash(hash) => {
                found
                    .push((format!("{pointer}/blake3"), "a BLAKE3 has 64 hexadecimal digits in lower case".to_owned()));
            }
            None if model.file.is_some() => {
                found.push((pointer.clone(), format!("`{name}` is a bundled file: pin its content with `blake3`")));
            }
            _ => {}
        }
        if model.file.as_deref().is_some_and(|f| f.is_empty() || f.contains(['/', '\\'])) {
            found.push((format!("{pointer}/file"), "write the name of the file, without a folder".to_owned()));
        }
    }
    found
}

pub(super) fn prompts(c: &Context<'_>) -> Found {
    let prompts = c.extension().into_iter().flat_map(|t| &t.prompts).filter(|(_, tokens)| tokens.len() < TOKENS);
    let message =
        |n: usize| format!("{n} tokens: at position 0 RoPE is the identity, and the mask has nothing to hide");
    prompts.map(|(name, tokens)| (format!("/twinpath/prompts/{name}"), message(tokens.len()))).collect()
}

pub(super) fn bounds(c: &Context<'_>) -> Found {
    let mut found = Vec::new();
    for (i, claim) in c.contract().claims.iter().enumerate() {
        let pointer = format!("/claims/{i}/prediction");
        let numbers = match claim.prediction {
            Prediction::In([low, high]) => vec![low, high],
            Prediction::AtMost(x) | Prediction::AtLeast(x) | Prediction::Equals(x) => vec![x],
            Prediction::Verdict(_) => continue,
        };
        if numbers.iter().any(|x| !x.is_finite()) {
            found.push((pointer, "a bound is not a finite number".to_owned()));
        } else if let Prediction::In([low, high]) = claim.prediction
            && low > high
        {
            found.push((pointer, format!("{low} is above {high}: write the smaller bound first")));
        } else if let Some((least, most)) = possible(&claim.measure)
            && let Some(x) = numbers.iter().find(|x| **x < least || **x > most)
        {
            found.push((pointer, format!("{x} cannot come out: the measurement yields {least} .. {most}")));
        }
    }
    found
}

/// Values that a measurement can yield.
fn possible(measure: &Measure) -> Option<(f64, f64)> {
    match measure {
        Measure::Compare(m) => Some(m.quantity.range()),
        Measure::Experiment(_) | Measure::External(_) => None,
        _ => Some((0.0, f64::INFINITY)),
    }
}

pub(super) fn vacuous(c: &Context<'_>) -> Found {
    let claims = c.contract().claims.iter().enumerate();
    claims.filter_map(|(i, claim)| Some((format!("/claims/{i}/prediction"), status::vacuous(claim)?))).collect()
}

pub(super) fn kinds(c: &Context<'_>) -> Found {
    let mut found = Vec::new();
    for (i, claim) in c.contract().claims.iter().enumerate() {
        let words = matches!(claim.prediction, Prediction::Verdict(_));
        let wants_words = match &claim.measure {
            Measure::Experiment(e) => e.check.is_none(),
            Measure::External(_) => continue,
            _ => false,
        };
        let message = match (wants_words, words) {
            (true, false) => "an experiment as a whole yields a verdict: write `verdict: upheld`, or name one `check`",
            (false, true) => "this measurement yields a number: write `at_most`, `at_least`, `in` or `equals`",
            _ => continue,
        };
        found.push((format!("/claims/{i}/prediction"), message.to_owned()));
    }
    found
}

pub(super) fn coverage(c: &Context<'_>) -> Found {
    let claims = c.contract().claims.iter().enumerate();
    let bad = claims.filter(|(_, claim)| !(claim.coverage > 0.0 && claim.coverage <= 1.0));
    let message = |x: f64| format!("{x} is not above 0 and at most 1");
    bad.map(|(i, claim)| (format!("/claims/{i}/coverage"), message(claim.coverage))).collect()
}

pub(super) fn controls(c: &Context<'_>) -> Found {
    let claims = c.contract().claims.iter().enumerate();
    let bare = claims.filter(|(_, claim)| claim.control.is_none() && !matches!(claim.measure, Measure::External(_)));
    let message = "no control: name something wrong that this measurement must notice (`twinpath contract faults`)";
    bare.map(|(i, _)| (format!("/claims/{i}"), message.to_owned())).collect()
}
