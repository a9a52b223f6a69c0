//! `twinpath explain`.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, reason = "doc comments here are help texts")]

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use twinpath_engine::{Model, Oracle};
use twinpath_evidence::attribution::Budget;
use twinpath_lab::Arithmetic;
use twinpath_lab::explain::{Detail, Ends, ExplainOptions, estimate, explain};

use super::print;
use crate::args::{Global, Prompt, probability};
use crate::input::{self, BUNDLED_PROMPTS, Opened, bundled};
use crate::progress::{Bar, note};

/// Models of up to this many layers have every layer opened unasked.
const FEW_LAYERS: usize = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A, where the chain begins: MODEL[@PATH] [default: the bundled .apr along standalone]
    #[arg(requires = "b")]
    a: Option<String>,
    /// B, where it ends: MODEL[@PATH] with the same weights, or other weights along the same path [default: the bundled
    /// .gguf along fused-q8k]
    b: Option<String>,
    #[command(flatten)]
    prompt: Prompt,
    /// File of prompts to average over, separated by lines of `---` [default: the bundled set, unless one prompt is given]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "file", "tokens"])]
    prompts: Option<PathBuf>,
    /// Tokens of each prompt of a set that are used
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    prompt_tokens: u32,
    /// How finely: auto opens every layer of a small model, and the most important ones of a large one
    #[arg(long, value_enum, default_value_t = By::Auto)]
    by: By,
    /// Layers to open with --by auto on a model of many layers
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    /// Switch in the reverse order too, and show how much the shares depend on it
    #[arg(long)]
    interactions: bool,
    /// Switch in N random orders and their reverses, too: their mean estimates the Shapley value
    #[arg(long, value_name = "N", default_value_t = 0)]
    shapley: u16,
    /// Chance of calling a faithful value unexplained, in the whole run
    #[arg(long, value_name = "P", default_value_t = 1e-3, value_parser = probability)]
    alpha: f64,
    /// Instead attribute each side's distance from the f64 oracle, and say which side is nearer, site by site
    #[arg(long, conflicts_with = "checkpoint")]
    budget: bool,
    /// Keep what is done in FILE, and go on from it if it is there; removed at the end
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Seed of the bootstrap and of the random orders
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Leave the hashes of the files out of the record
    #[arg(long)]
    no_hash: bool,
}

/// How finely to attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Sites of a small model; layers of a large one, the most important opened
    Auto,
    /// One group for each layer
    Layers,
    /// One group for each site
    Sites,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<u8> {
    let (a, b) = Opened::pair([&args.a, &args.b], None, global)?;
    let (
        Opened::Model { label, model, arithmetic, .. },
        Opened::Model { label: label_b, model: model_b, arithmetic: by_b, .. },
    ) = (&a, &b)
    else {
        bail!("a recording cannot be switched site by site: name two models");
    };
    if let Some(difference) = model.config().difference(model_b.config()) {
        bail!("the models are not of one shape: {difference}");
    }
    let prompts = prompts(args, model)?;
    let few = model.config().layers <= FEW_LAYERS;
    let options = ExplainOptions {
        detail: match args.by {
            By::Layers => Detail::Layers,
            By::Sites => Detail::Sites,
            By::Auto if few => Detail::Sites,
            By::Auto => Detail::Top(args.top),
        },
        interactions: args.interactions,
        shapley: usize::from(args.shapley),
        alpha: args.alpha,
        seed: args.seed,
        hash: !args.no_hash,
        checkpoint: args.checkpoint.clone(),
    };
    if !global.quiet {
        let cost = estimate(model, &prompts, &options);
        let (n, mib) = (prompts.len(), cost.bytes.div_ceil(1 << 20));
        note(&format!("[{n} prompts, at most {:.1} forward passes each and {mib} MiB beside the model]", cost.passes));
    }
    if args.budget {
        return budget([(label, model, arithmetic), (label_b, model_b, by_b)], &prompts, &options, global);
    }
    let mut bar = Bar::new("explaining", global.quiet);
    let ends = Ends { model_a: model, model_b, a: (label, arithmetic), b: (label_b, by_b) };
    let record = explain(ends, &prompts, &options, &mut |done, total| bar.at(done, total))?;
    drop(bar);
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::attribution(&record, out),
    })?;
    Ok(u8::from(!record.suspicious.is_empty()))
}

/// From the oracle on its own weights to each side.
fn budget(
    sides: [(&String, &Model, &Arithmetic); 2],
    prompts: &[Vec<u32>],
    options: &ExplainOptions,
    global: &Global,
) -> Result<u8> {
    let oracle = Arithmetic::Oracle(Oracle);
    let mut bar = Bar::new("explaining", global.quiet);
    let mut one = |half: u64, (label, model, arithmetic): (&String, &Model, &Arithmetic)| {
        let name = format!("{}@oracle", model.path().display());
        let ends = Ends { model_a: model, model_b: model, a: (&name, &oracle), b: (label, arithmetic) };
        explain(ends, prompts, options, &mut |done, total| bar.at(half * total + done, 2 * total))
    };
    let [a, b] = sides;
    let record = Budget { a: one(0, a)?, b: one(1, b)? };
    drop(bar);
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::budget(&record, out),
    })?;
    Ok(u8::from([&record.a, &record.b].iter().any(|r| !r.suspicious.is_empty())))
}

fn prompts(args: &Args, model: &Model) -> Result<Vec<Vec<u32>>> {
    if let Some(tokens) = &args.prompt.tokens {
        return Ok(vec![tokens.clone()]);
    }
    let tokenizer = input::tokenizer(model)?;
    if args.prompt.text.is_some() || args.prompt.file.is_some() {
        return Ok(vec![input::tokens(&args.prompt, tokenizer.as_ref(), "")?]);
    }
    let file = match &args.prompts {
        Some(file) => file.clone(),
        None => bundled(BUNDLED_PROMPTS)?,
    };
    input::prompt_set(&file, tokenizer.as_ref(), args.prompt_tokens as usize)
}
