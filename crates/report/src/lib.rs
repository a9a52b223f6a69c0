//! Records to text. Nothing here computes, and nothing here touches a model.

mod attribution;
mod bench;
mod budget;
mod comparison;
pub mod contract;
mod diagnosis;
mod falsification;
mod fault_bench;
mod fix;
mod html;
mod inspection;
mod list;
mod number;
mod published;
mod table;
mod trace;
mod verdicts;

use std::io::{self, Write};

use serde::Serialize;

pub use attribution::attribution;
pub use bench::bench;
pub use budget::budget;
pub use comparison::{View, comparison};
pub use diagnosis::diagnosis;
pub use falsification::falsification;
pub use fault_bench::fault_bench;
pub use fix::fix;
pub use html::{HtmlError, html};
pub use inspection::inspection;
pub use list::{Entry, list};
pub use published::reproduction;
pub use trace::{TraceRow, trace};

/// Any record as indented JSON with a final newline.
///
/// # Errors
/// When `out` cannot be written.
pub fn json(record: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, record)?;
    writeln!(out)
}
