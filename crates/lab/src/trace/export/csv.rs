//! CSV: one line for each value, `site,position,channel,value`, in digits that read back to the same bits.

use std::io::{self, Write};
use std::path::Path;

use super::{Export, file, values};
use crate::error::LabError;
use crate::side::Values;
use crate::trace::Trace;

/// The kind.
pub(super) struct Csv;

impl Export for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn describe(&self) -> &'static str {
        "one line for each value: site, position, channel, value; large, and without tokens"
    }

    fn write(&self, trace: &Trace, out: &Path) -> Result<(), LabError> {
        file(out, |out| fill(trace, out))
    }
}

fn fill(trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
    let first = trace.header().positions.first;
    writeln!(out, "site,position,channel,value")?;
    for (site, values) in values(trace) {
        for t in 0..values.shape().0 {
            let position = first + t;
            match &values {
                Values::F32(x) => {
                    for (i, x) in x.row(t).iter().enumerate() {
                        writeln!(out, "{site},{position},{i},{x:?}")?;
                    }
                }
                Values::F64(x) => {
                    for (i, x) in x.row(t).iter().enumerate() {
                        writeln!(out, "{site},{position},{i},{x:?}")?;
                    }
                }
            }
        }
    }
    Ok(())
}
