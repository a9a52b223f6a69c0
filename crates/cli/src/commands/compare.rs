//! `twinpath compare`.

use anyhow::Result;
use twinpath_formats::atomic::{write_atomically, write_error};
use twinpath_lab::null::null_of;
use twinpath_lab::{CompareOptions, OracleChoice, compare};
use twinpath_report::View;

use super::{check_output, print};
use crate::args::{Compare, Global, OracleArg, Prompt, SitesArg};
use crate::input::{self, DEFAULT_PROMPT, Opened};
use crate::progress::Bar;

/// Models of up to this many layers show every site unasked.
const FEW_LAYERS: usize = 8;

pub(super) fn run(args: &Compare, global: &Global) -> Result<u8> {
    if let Some(path) = &args.html {
        check_output(path, args.force)?;
    }
    let (a, b) = Opened::pair([&args.a, &args.b], args.map.as_deref(), global)?;
    let [a, b] = match &args.policy {
        Some(policy) => [a.rerouted(policy, global)?, b.rerouted(policy, global)?],
        None => [a, b],
    };
    let tokens = tokens(&args.prompt, &a, &b)?;
    let b = b.with_mistake(args.plant.as_deref(), &tokens)?;
    let options = CompareOptions {
        oracle: choice(args.oracle),
        layers: choice(args.split_layers),
        hash: !args.no_hash,
        replay: (!args.no_replay).then_some(args.alpha),
        statistical: args.statistical,
    };
    let mut bar = Bar::new("comparing", global.quiet);
    let mut record = compare(&a.party(), &b.party(), &tokens, options, &mut |done, total| bar.at(done, total))?;
    drop(bar);
    if let Some(replicates) = args.null {
        let mut bar = Bar::new("replicating", global.quiet);
        let progress = &mut |done, total| bar.at(done, total);
        record.null = null_of(&a.party(), &b.party(), &tokens, usize::from(replicates), args.seed, progress)?;
    }
    if let Some(path) = &args.html {
        let page = twinpath_report::html(&record)?;
        write_atomically(path, |out| out.write_all(page.as_bytes()).map_err(|e| write_error(path, e)))?;
    }
    let few = a.party().config().layers <= FEW_LAYERS;
    let view = match args.sites {
        SitesArg::All => View::Sites,
        SitesArg::Auto if args.full || (few && !args.layers) => View::Sites,
        SitesArg::Auto | SitesArg::Layers => View::Layers,
    };
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::comparison(&record, view, args.stats, out),
    })?;
    Ok(record.exit_code())
}

fn choice(given: OracleArg) -> OracleChoice {
    match given {
        OracleArg::Auto => OracleChoice::Auto,
        OracleArg::On => OracleChoice::On,
        OracleArg::Off => OracleChoice::Off,
    }
}

/// The tokens asked for; where nothing was asked, those of a recording among the sides.
pub(super) fn tokens(prompt: &Prompt, a: &Opened, b: &Opened) -> Result<Vec<u32>> {
    let asked = prompt.tokens.is_some() || prompt.text.is_some() || prompt.file.is_some();
    for side in [a, b] {
        if let (Opened::Trace { trace, .. }, false) = (side, asked) {
            return Ok(trace.header().tokens.clone());
        }
    }
    let mut tokenizer = None;
    for side in [a, b] {
        if let (Opened::Model { model, .. }, None, None) = (side, &tokenizer, &prompt.tokens) {
            tokenizer = input::tokenizer(model)?;
        }
    }
    input::tokens(prompt, tokenizer.as_ref(), DEFAULT_PROMPT)
}
