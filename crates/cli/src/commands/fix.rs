//! `twinpath fix`.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, reason = "doc comments here are help texts")]

use std::path::PathBuf;

use anyhow::{Result, bail};
use twinpath_engine::Model;
use twinpath_lab::copy::Load;
use twinpath_lab::fix::{FixOptions, Inputs, Try, fix};
use twinpath_lab::party::Source;
use twinpath_lab::{Arithmetic, Party};

use super::print;
use crate::args::{Global, Prompt, probability};
use crate::input::{self, BUNDLED_PROMPTS, Opened, bundled};
use crate::progress::Bar;

/// The published options, tried side by side where none is named.
const OPTIONS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A, the reference, as it is: MODEL[@PATH] [default: the bundled .apr along standalone]
    #[arg(requires = "b")]
    a: Option<String>,
    /// B, as it is: MODEL[@PATH] [default: the bundled .gguf along fused-q8k]
    b: Option<String>,
    #[command(flatten)]
    prompt: Prompt,
    /// A published option: a (fused on both sides), b (f32 activations), c (fused, one scale per 32); can be repeated
    #[arg(long, value_name = "OPTION", value_parser = ["a", "b", "c"])]
    option: Vec<String>,
    /// A policy: a built-in one (`twinpath list policies`) or a YAML file; can be repeated
    #[arg(long, value_name = "POLICY")]
    policy: Vec<String>,
    /// File of prompts, separated by lines of `---`; every other one is held out [default: the bundled set]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "file", "tokens"])]
    prompts: Option<PathBuf>,
    /// Prompts of each kind that are used
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// Tokens of each seen prompt; held-out ones are twice as long
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..))]
    prompt_tokens: u32,
    /// Tokens to decode in each measurement of speed; 0 measures none
    #[arg(long, value_name = "N", default_value_t = 32)]
    decode: u16,
    /// Chance of calling a faithful value unexplained, in the whole run
    #[arg(long, value_name = "P", default_value_t = 1e-3, value_parser = probability)]
    alpha: f64,
    /// Leave the hashes of the files out of the record
    #[arg(long)]
    no_hash: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<u8> {
    let (a, b) = Opened::pair([&args.a, &args.b], None, global)?;
    let (Opened::Model { model, tiles, .. }, Opened::Model { model: model_b, tiles: tiles_b, .. }) = (&a, &b) else {
        bail!("a recording runs along no other path: name two models");
    };
    if let Some(difference) = model.config().difference(model_b.config()) {
        bail!("the models are not of one shape: {difference}");
    }
    let mut names: Vec<String> = args.option.iter().chain(&args.policy).cloned().collect();
    if names.is_empty() {
        names = OPTIONS.map(str::to_owned).to_vec();
    }
    let mut policies =
        names.iter().map(|name| input::policy(name, global)).collect::<Result<Vec<(String, Arithmetic)>>>()?;
    // Speeds are compared as `run` has them with a large model: from a copy of the weights, if there is room.
    let copied = match tiles_b {
        Some(_) => None,
        None => input::tiles(model_b, global, Load::Room)?,
    };
    for (_, arithmetic) in &mut policies {
        tiles.iter().chain(tiles_b).chain(&copied).for_each(|tiles| arithmetic.adopt(tiles));
    }
    let tries: Vec<Try<'_>> = policies
        .iter()
        .map(|(name, arithmetic)| {
            let side = |model| Party { label: name.clone(), source: Source::Model(model, arithmetic) };
            Try { policy: name.clone(), sides: [side(model), side(model_b)] }
        })
        .collect();
    let inputs = inputs(args, model)?;
    let options = FixOptions { alpha: args.alpha, decode: usize::from(args.decode), hash: !args.no_hash };
    let mut bar = Bar::new("comparing before and after", global.quiet);
    let record = fix(&[a.party(), b.party()], &tries, &inputs, options, &mut |done, total| bar.at(done, total))?;
    drop(bar);
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::fix(&record, out),
    })?;
    let codes = || record.tried.iter().map(|t| t.verdict.exit_code());
    // A gap that is not closed outweighs one of which nothing can be said.
    Ok(if codes().any(|code| code == 1) { 1 } else { codes().max().unwrap_or(0) })
}

/// Every other prompt of a set is held out, and twice as long. Of a single prompt the first half is seen.
fn inputs(args: &Args, model: &Model) -> Result<Inputs> {
    let one = args.prompt.tokens.is_some() || args.prompt.text.is_some() || args.prompt.file.is_some();
    if one {
        let tokenizer = if args.prompt.tokens.is_some() { None } else { input::tokenizer(model)? };
        let all = input::tokens(&args.prompt, tokenizer.as_ref(), "")?;
        if all.len() < 4 {
            bail!("one prompt of {} tokens is too short: its first half is seen, the rest held out", all.len());
        }
        let seen = all[..all.len() / 2].to_vec();
        return Ok(Inputs { seen: vec![seen], held_out: vec![all] });
    }
    let tokenizer = input::tokenizer(model)?;
    let file = match &args.prompts {
        Some(file) => file.clone(),
        None => bundled(BUNDLED_PROMPTS)?,
    };
    let most = args.prompt_tokens as usize;
    let mut inputs = Inputs::default();
    for (i, mut prompt) in input::prompt_set(&file, tokenizer.as_ref(), 2 * most)?.into_iter().enumerate() {
        let held_out = i % 2 == 1;
        let kind = if held_out { &mut inputs.held_out } else { &mut inputs.seen };
        if kind.len() < usize::from(args.count) {
            prompt.truncate(if held_out { 2 * most } else { most });
            kind.push(prompt);
        }
    }
    if inputs.held_out.is_empty() {
        bail!("{}: holds one prompt; every other one is held out, so two are needed", file.display());
    }
    Ok(inputs)
}
