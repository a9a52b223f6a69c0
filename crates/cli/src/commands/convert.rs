//! `twinpath convert`.

use anyhow::Result;
use serde_json::json;
use twinpath_formats::Verify;
use twinpath_formats::convert::{ConvertReport, Dequantize, Options, convert};

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
        for t in &report.tensors {
            let to = t.to.as_deref().unwrap_or("(left out: copy of the embedding)");
            let fate = if t.kept { "kept bit for bit" } else { "rounded" };
            writeln!(
                out,
                "{:<28} {:<5} -> {:<48} {:<5} {:>12} bytes  {fate}",
                t.from, t.from_type, to, t.to_type, t.bytes
            )?;
        }
        let kept = report.tensors.iter().filter(|t| t.kept).count();
        for key in &report.dropped_keys {
            writeln!(out, "not kept: metadata key {key}")?;
        }
        writeln!(out, "\n{}: {kept} of {} tensors kept bit for bit", args.output.display(), report.tensors.len())
    })
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
