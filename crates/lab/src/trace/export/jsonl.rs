//! JSON lines: the header of the recording, then one record for each site and position.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::{Export, file, values};
use crate::error::LabError;
use crate::side::Values;
use crate::trace::Trace;

/// The kind.
pub(super) struct JsonLines;

impl Export for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn describe(&self) -> &'static str {
        "a line with tokens and model, then one for each site and position with its values; null for what is not finite"
    }

    fn write(&self, trace: &Trace, out: &Path) -> Result<(), LabError> {
        file(out, |out| fill(trace, out))
    }
}

fn fill(trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, trace.header())?;
    writeln!(out)?;
    let first = trace.header().positions.first;
    for (site, values) in values(trace) {
        for t in 0..values.shape().0 {
            let row = match &values {
                Values::F32(x) => json!(x.row(t)),
                Values::F64(x) => json!(x.row(t)),
            };
            let line = json!({ "site": site.to_string(), "position": first + t, "values": row });
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        }
    }
    Ok(())
}
