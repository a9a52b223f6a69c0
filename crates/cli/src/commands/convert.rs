//! `twinpath convert`.

use anyhow::Result;
use serde_json::json;
use twinpath_formats::Verify;
use twinpath_formats::convert::{ConvertReport, Dequantize, Options, TensorReport, convert};

use super::{check_output, print};
use crate::args::{Convert, DequantizeArg, Global};
use crate::progress::{Bar, note};

pub(super) fn run(args: &Convert, global: &Global) -> Result<u8> {
    check_output(&args.output, args.force)?;
    let options = Options {
        dequantize: args.dequantize.map(|d| match d {
            DequantizeArg::F16 => Dequantize::F16,
            DequantizeArg::F32 => Dequantize::F32,
        }),
        verify: if global.no_verify { Verify::None } else { Verify::All },
    };
    let mut bar = Bar::new("converting", global.quiet);
    let report = convert(&args.input, &args.output, &options, &mut |done, total| bar.at(done, total))?;
    drop(bar);
    for warning in &report.warnings {
        note(&format!("warning: {warning}"));
    }
    if global.json {
        return print(|out| twinpath_report::json(&record(&report), out));
    }
    print(|out| {
        let rows: Vec<_> = report.tensors.iter().map(row).collect();
        let width = |i: usize| rows.iter().map(|r| r[i].len()).max().unwrap_or(0);
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
        for [from, from_type, to, to_type, bytes, fate] in &rows {
            writeln!(out, "{from:a$}  {from_type:b$}  ->  {to:c$}  {to_type:d$}  {bytes:>e$} bytes  {fate}")?;
        }
        for key in &report.dropped_keys {
            writeln!(out, "not kept: metadata key {key}")?;
        }
        let kept = report.tensors.iter().filter(|t| t.kept).count();
        writeln!(out, "\n{}: {kept} of {} tensors kept bit for bit", args.output.display(), report.tensors.len())
    })
}

/// A tensor's names, types, size and fate.
fn row(t: &TensorReport) -> [String; 6] {
    let to = t.to.clone().unwrap_or_else(|| "(left out: copy of the embedding)".to_owned());
    let fate = if t.kept { "kept bit for bit" } else { "rounded" };
    [t.from.clone(), t.from_type.to_string(), to, t.to_type.to_string(), t.bytes.to_string(), fate.to_owned()]
}

fn record(report: &ConvertReport) -> serde_json::Value {
    let tensors: Vec<_> = report
        .tensors
        .iter()
        .map(|t| {
            json!({
                "from": t.from, "to": t.to, "from_type": t.from_type, "to_type": t.to_type, "bytes": t.bytes,
                "kept": t.kept,
            })
        })
        .collect();
    json!({ "tensors": tensors, "dropped_keys": report.dropped_keys, "warnings": report.warnings })
}
