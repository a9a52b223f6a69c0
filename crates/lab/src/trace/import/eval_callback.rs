//! What `llama-eval-callback` and `llama-debug` print: each node's name, operation, shape and some of its values.
//!
//! The print shows the first and last three of each dimension with four decimals; what it leaves out is read as NaN, which
//! counts as not compared, and nothing of it is judged.

use std::path::Path;

use twinpath_formats::map::Bytes;

use super::{Import, ends};
use crate::trace::raw::{Array, Element, Raw};

/// The kind.
pub(super) struct EvalCallback;

/// Values of one dimension that are shown at each end.
const SHOWN: usize = 3;
/// Values that a node may have.
const MAX_VALUES: usize = 1 << 28;

impl Import for EvalCallback {
    fn name(&self) -> &'static str {
        "eval-callback"
    }

    fn describe(&self) -> &'static str {
        "text of llama-eval-callback or llama-debug: truncated, so that drift is of the shown values and nothing is judged"
    }

    fn recognises(&self, path: &Path, head: &[u8]) -> bool {
        (ends(path, "txt") || ends(path, "log")) && std::str::from_utf8(head).is_ok()
    }

    fn read(&self, _: &Path, bytes: &Bytes) -> Result<Raw, String> {
        let text = String::from_utf8_lossy(bytes);
        let mut raw =
            Raw { weak: Some("printed with four decimals and truncated: weak evidence".into()), ..Raw::default() };
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let Some((name, shape)) = node(line) else { continue };
            let mut block = Vec::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| node(line).is_none() && !line.contains("sum =")) {
                block.push(line);
            }
            let values = values(&shape, &block).map_err(|why| format!("line {}: node `{name}` {why}", number + 1))?;
            let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let shape: Vec<usize> = shape.iter().copied().skip_while(|d| *d == 1).collect();
            let shape = if shape.is_empty() { vec![1] } else { shape };
            raw.arrays.push(Array::owned(name, shape, Element::F32, values)?);
        }
        if raw.arrays.is_empty() {
            return Err("is a text without a node of llama-eval-callback".to_owned());
        }
        Ok(raw)
    }
}

/// `…: NAME = (f32) OP(…) = {ne0, ne1, ne2, ne3}`: name with operation, and the shape with the slowest dimension first.
fn node(line: &str) -> Option<(String, Vec<usize>)> {
    let (name, rest) = line.split_once(" = (f32)")?;
    let name = name.rsplit_once(": ").map_or(name, |(_, name)| name).trim();
    let (op, _) = rest.trim_start().split_once('(')?;
    let (_, dims) = rest.rsplit_once("= {")?;
    let dims = dims.trim_end().strip_suffix('}')?.split(',').map(|d| d.trim().parse::<usize>());
    let mut shape: Vec<usize> = dims.collect::<Result<_, _>>().ok()?;
    shape.reverse();
    (shape.len() == 4).then(|| (format!("{name}@{op}"), shape))
}

/// The values of a node by place; NaN where none is shown.
fn values(shape: &[usize], block: &[&str]) -> Result<Vec<f32>, String> {
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_VALUES);
    let mut values = vec![f32::NAN; count.ok_or_else(|| format!("has the shape {shape:?}"))?];
    // The index in each open bracket, slowest first; the slowest dimension has none of its own.
    let mut open: Vec<usize> = vec![0];
    let text = block.join(" ").replace('[', " [ ").replace(']', " ] ");
    for word in text.split([' ', '\t', ',']).filter(|w| !w.is_empty()) {
        let depth = open.len();
        match word {
            "[" => open.push(0),
            "]" => {
                open.pop();
                *open.last_mut().ok_or("closes a bracket that is not open")? += 1;
            }
            "..." => {
                let size = shape.get(depth - 1).ok_or("has more brackets than dimensions")?;
                open[depth - 1] = size.saturating_sub(SHOWN);
            }
            number => {
                let value: f32 = number.parse().map_err(|_| format!("has `{number}` among its values"))?;
                let within = open.len() == shape.len() && open.iter().zip(shape).all(|(i, size)| i < size);
                if !within {
                    return Err(format!("has a value at {open:?} that its shape {shape:?} has no place for"));
                }
                let at = open.iter().zip(shape).fold(0, |at, (i, size)| at * size + i);
                values[at] = value;
                open[shape.len() - 1] += 1;
            }
        }
    }
    if values.iter().all(|v| v.is_nan()) {
        return Err("has no values: was the print cut short?".to_owned());
    }
    Ok(values)
}
