//! `twinpath inspect`.

use anyhow::Result;
use twinpath_lab::inspect::inspect;

use super::print;
use crate::args::{Global, Inspect};
use crate::input::{BUNDLED_GGUF, bundled};

pub(super) fn run(args: &Inspect, global: &Global) -> Result<u8> {
    let path = match &args.model {
        Some(path) => path.clone(),
        None => bundled(BUNDLED_GGUF)?,
    };
    let record = inspect(&path, args.deep)?;
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::inspection(&record, args.tensors, out),
    })
}
