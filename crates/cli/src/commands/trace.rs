//! `twinpath trace`.

use std::path::Path;

use anyhow::{Result, bail};
use twinpath_lab::ModelSpec;
use twinpath_lab::trace::export::EXPORTS;
use twinpath_lab::trace::{Trace as Recording, export, record};
use twinpath_report::TraceRow;

use super::{check_output, print};
use crate::args::{Global, Trace};
use crate::input::{self, BUNDLED_GGUF, DEFAULT_PROMPT, Opened, bundled};
use crate::progress::Bar;

pub(super) fn run(args: &Trace, global: &Global) -> Result<u8> {
    check_output(&args.output, args.force)?;
    let given = match &args.model {
        Some(text) => text.clone(),
        None => bundled(BUNDLED_GGUF)?.display().to_string(),
    };
    let kind = export::kind(&args.output);
    if Recording::is_trace(Path::new(&given)) {
        return convert(&given, kind, args, global);
    }
    let opened = Opened::model(&ModelSpec::parse(&given)?, global)?;
    let Opened::Model { model, .. } = &opened else { bail!("{given}: is a trace already") };
    let tokenizer = if args.prompt.tokens.is_some() { None } else { input::tokenizer(model)? };
    let tokens = input::tokens(&args.prompt, tokenizer.as_ref(), DEFAULT_PROMPT)?;
    let mut bar = Bar::new("recording", global.quiet);
    let progress = &mut |done, total| bar.at(done, total);
    let trace = match kind {
        None => record(&opened.party(), model, &tokens, args.positions, &args.output, progress)?,
        Some(kind) => {
            let beside = args.output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let whole = tempfile::Builder::new().prefix(".twinpath-").suffix(".safetensors").tempfile_in(beside)?;
            let trace = record(&opened.party(), model, &tokens, args.positions, whole.path(), progress)?;
            kind.write(&Recording::open(whole.path())?, &args.output)?;
            trace
        }
    };
    drop(bar);
    if global.json {
        return print(|out| twinpath_report::json(&trace, out));
    }
    let row = trace.sites.iter();
    let rows: Vec<TraceRow<'_>> =
        row.map(|s| TraceRow { site: &s.site, weights: s.weights.as_deref(), stats: &s.stats }).collect();
    print(|out| {
        let p = trace.header.positions;
        writeln!(out, "{}  [{}]", trace.header.side.label, trace.header.side.kernels)?;
        writeln!(out, "scope   positions {}..{} of {} tokens\n", p.first, p.first + p.count, tokens.len())?;
        twinpath_report::trace(&rows, out)?;
        writeln!(out)?;
        for warning in &trace.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        writeln!(out, "{}: {} sites", args.output.display(), rows.len())
    })
}

/// A recording of ours as another kind of file.
fn convert(given: &str, kind: Option<&dyn export::Export>, args: &Trace, global: &Global) -> Result<u8> {
    let Some(kind) = kind else {
        let known: Vec<String> = EXPORTS.iter().map(|kind| format!(".{}", kind.name())).collect();
        bail!("{given}: is a trace already; as an output it can become {}", known.join(", "));
    };
    let trace = Recording::open(Path::new(given))?;
    kind.write(&trace, &args.output)?;
    print(|out| match global.json {
        true => twinpath_report::json(trace.header(), out),
        false => writeln!(out, "{}: {} sites", args.output.display(), trace.sites().count()),
    })
}
