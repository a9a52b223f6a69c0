//! `twinpath diagnose`.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, reason = "doc comments here are help texts")]

use std::path::PathBuf;

use anyhow::Result;
use clap::Args as ClapArgs;
use twinpath_lab::diagnose::{DiagnoseOptions, diagnose};

use super::compare::tokens;
use super::print;
use crate::args::{Global, Prompt, probability};
use crate::input::Opened;
use crate::progress::Bar;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A, whose model is believed: MODEL[@PATH] [default: the bundled .apr along standalone]
    #[arg(requires = "b")]
    a: Option<String>,
    /// B, which is judged: MODEL[@PATH] or a recording, ours or another engine's [default: the bundled .gguf along fused-q8k]
    b: Option<String>,
    #[command(flatten)]
    prompt: Prompt,
    /// Self-test: B makes a known mistake, NAME[=PARAMETER][@SITE] of `twinpath list suspects`; without SITE wherever it can
    #[arg(long, value_name = "MISTAKE")]
    plant: Option<String>,
    /// What the names in another engine's recording mean (YAML; see `twinpath list names` for the known vocabularies)
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Chance of a false alarm in the whole run
    #[arg(long, value_name = "P", default_value_t = 1e-3, value_parser = probability)]
    alpha: f64,
    /// Suspects shown for each site that none explains, and kept in the record for each that is unexplained
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Leave the hashes of the files out of the record
    #[arg(long)]
    no_hash: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<u8> {
    let (a, b) = Opened::pair([&args.a, &args.b], args.map.as_deref(), global)?;
    let tokens = tokens(&args.prompt, &a, &b)?;
    let b = b.with_mistake(args.plant.as_deref(), &tokens)?;
    let options = DiagnoseOptions { alpha: args.alpha, hash: !args.no_hash, keep: args.top };
    let mut bar = Bar::new("diagnosing", global.quiet);
    let record = diagnose(&a.party(), &b.party(), &tokens, options, &mut |done, total| bar.at(done, total))?;
    drop(bar);
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::diagnosis(&record, out),
    })?;
    Ok(record.exit_code())
}
