//! What is in a model file.

use std::io::{self, Write};

use twinpath_evidence::Inspection;

use crate::number::{bytes, count};
use crate::table::{table, text};

/// The model's facts, the types, and with `tensors` every tensor.
///
/// # Errors
/// When `out` cannot be written.
pub fn inspection(record: &Inspection, tensors: bool, out: &mut dyn Write) -> io::Result<()> {
    for (file, size) in &record.files {
        writeln!(out, "{file}  {} ({})", record.container, bytes(*size))?;
    }
    match &record.model {
        Err(why) => writeln!(out, "\ncannot be run: {why}")?,
        Ok(model) => {
            writeln!(out, "\narchitecture       {}", model.architecture)?;
            for (name, value) in &model.dimensions {
                writeln!(out, "{name:<18} {}", count(*value))?;
            }
            writeln!(out, "weights            {}", count(model.parameters))?;
            writeln!(out, "head               {}", if model.tied { "tied to the embedding" } else { "its own" })?;
            writeln!(out, "attention          {}", model.attention)?;
            writeln!(out, "RoPE               {}", model.rope)?;
            writeln!(out, "tokenizer          {}", model.tokenizer)?;
        }
    }
    writeln!(out)?;
    let mut types = table(&["type", "tensors", "bytes"], 1);
    for t in &record.types {
        types.add_row([t.name.clone(), count(t.tensors as u64), bytes(t.bytes)]);
    }
    write!(out, "{}", text(&types))?;
    if tensors {
        writeln!(out)?;
        let mut all = table(&["tensor", "type", "shape", "bytes", "offset"], 3);
        for t in &record.tensors {
            let shape = t.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
            all.add_row([t.name.clone(), t.tensor_type.clone(), shape, count(t.bytes), count(t.offset)]);
        }
        write!(out, "{}", text(&all))?;
    }
    writeln!(out, "\nverified: {}", record.verified.join("; "))?;
    for warning in &record.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
