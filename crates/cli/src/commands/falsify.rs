//! `twinpath falsify`.

use std::io::Write;

use anyhow::{Context, Result};
use twinpath_engine::Model;
use twinpath_formats::Verify;
use twinpath_lab::experiments::{EXPERIMENTS, Experiment, reproduce};

use super::print;
use crate::args::{Falsify, Global};

pub(super) fn run(args: &Falsify, global: &Global) -> Result<u8> {
    let chosen = chosen(&args.ids)?;
    if args.explain {
        return explain(&chosen);
    }
    // A file of gigabytes is mapped, not read: experiments on one tensor are to take as long as that tensor.
    let model = args.model.as_deref().map(|path| Model::open(path, Verify::Header)).transpose()?;
    let record = reproduce(&chosen, model.as_ref());
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::reproduction(&record, out),
    })?;
    Ok(record.exit_code())
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
    print(|out| {
        for e in chosen {
            writeln!(out, "{} (published as {})\n\n{}", e.id, e.number, e.page())?;
        }
        out.flush()
    })
}
