//! `twinpath falsify`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use twinpath_engine::Model;
use twinpath_formats::Verify;
use twinpath_lab::experiments::{EXPERIMENTS, Experiment, Subject, falsify, reproduce};

use super::print;
use crate::args::{Falsify, Global};
use crate::input::{self, BUNDLED_GGUF, DEFAULT_PROMPT, bundled};
use crate::progress::Bar;

pub(super) fn run(args: &Falsify, global: &Global) -> Result<u8> {
    let chosen = chosen(&args.ids)?;
    if args.explain {
        return explain(&chosen);
    }
    if args.published {
        let model = args.model.as_deref().map(open).transpose()?;
        let record = reproduce(&chosen, model.as_ref());
        print(|out| match global.json {
            true => twinpath_report::json(&record, out),
            false => twinpath_report::reproduction(&record, out),
        })?;
        return Ok(record.exit_code());
    }
    let path = args.model.clone().map_or_else(|| bundled(BUNDLED_GGUF), Ok::<PathBuf, anyhow::Error>)?;
    let model = open(&path)?;
    let tokens = tokens(args, &model, chosen.iter().any(|e| e.needs_runs()))?;
    let bar = Mutex::new(Bar::new("experiments", global.quiet));
    let progress = |done, total| {
        if let Ok(mut bar) = bar.lock() {
            bar.at(done, total);
        }
    };
    let subject = Subject { model: &model, tokens: &tokens, isa: input::isa(global)? };
    let record = falsify(&chosen, &subject, &progress)?;
    let details = args.full || !args.ids.is_empty();
    drop(bar);
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::falsification(&record, details, out),
    })?;
    Ok(record.exit_code())
}

/// A file of gigabytes is mapped, not read: an experiment on one tensor is to take as long as that tensor.
fn open(path: &Path) -> Result<Model> {
    Ok(Model::open(path, Verify::Header)?)
}

/// The tokens to run on, where an experiment needs a run. A model without tokenizer gets ids spread over its vocabulary.
fn tokens(args: &Falsify, model: &Model, needed: bool) -> Result<Vec<u32>> {
    if !needed {
        return Ok(Vec::new());
    }
    let asked = args.prompt.tokens.is_some() || args.prompt.text.is_some() || args.prompt.file.is_some();
    let tokenizer = if args.prompt.tokens.is_some() { None } else { input::tokenizer(model)? };
    if tokenizer.is_none() && !asked {
        return Ok((0..32).map(|i| (i * 397 + 11) % model.config().vocab as u32).collect());
    }
    input::tokens(&args.prompt, tokenizer.as_ref(), DEFAULT_PROMPT)
}

/// The experiments asked for, in the order of the list; all where none was.
fn chosen(ids: &[String]) -> Result<Vec<&'static Experiment>> {
    let find = |id: &String| {
        let known = || EXPERIMENTS.iter().map(|e| e.id).collect::<Vec<_>>().join(", ");
        Experiment::find(id).with_context(|| format!("no experiment `{id}`; there are {}", known()))
    };
    let asked: Vec<&Experiment> = ids.iter().map(find).collect::<Result<_>>()?;
    Ok(EXPERIMENTS.iter().filter(|e| asked.is_empty() || asked.iter().any(|a| a.id == e.id)).collect())
}

fn explain(chosen: &[&Experiment]) -> Result<u8> {
    print(|out| chosen.iter().try_for_each(|e| writeln!(out, "{} (published as {})\n\n{}", e.id, e.number, e.page())))
}
