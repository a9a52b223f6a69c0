//! `APRT`: a folder with one file for each stage that the `apr` tool knows, `layer3_ffn_swigl.bin`, laid out as its own dumps
//! (see the reader), and `map.yaml` with the tokens, of which the format says nothing.

use std::path::Path;

use twinpath_engine::{Point, Site};

use super::{Export, values};
use crate::error::LabError;
use crate::side::Values;
use crate::trace::Trace;

/// The kind.
pub(super) struct Aprt;

impl Export for Aprt {
    fn name(&self) -> &'static str {
        "aprt"
    }

    fn describe(&self) -> &'static str {
        "a folder of the apr tool's dumps, one for each stage that it knows, as f32; tokens in map.yaml, for --map"
    }

    fn write(&self, trace: &Trace, out: &Path) -> Result<(), LabError> {
        let io = |source| LabError::Io { file: out.to_owned(), source };
        if out.exists() {
            return Err(io(std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "the folder is there already: remove it",
            )));
        }
        let beside = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = tempfile::Builder::new().prefix(".twinpath-").tempdir_in(beside).map_err(io)?;
        for (site, values) in values(trace) {
            let Some(stage) = stage(site.point) else { continue };
            std::fs::write(folder.path().join(name(site, stage)), file(site, &values)).map_err(io)?;
        }
        std::fs::write(folder.path().join("map.yaml"), map(trace)).map_err(io)?;
        std::fs::rename(folder.keep(), out).map_err(io)
    }
}

/// What the dumps do not say.
fn map(trace: &Trace) -> String {
    let header = trace.header();
    let held = header.positions.first..header.positions.first + header.positions.count;
    let activations = match header.side.path.as_str() {
        twinpath_paths::standalone::NAME => "activations: f32\n",
        twinpath_paths::fused_q8k::NAME => "activations: ggml\n",
        _ => "",
    };
    format!("tokens: {:?}\npositions: {:?}\n{activations}", header.tokens, held.collect::<Vec<usize>>())
}

/// What the tool calls a point; `None` where it has no stage for it.
fn stage(point: Point) -> Option<&'static str> {
    Some(match point {
        Point::Embed => "embedding",
        Point::AttnNorm => "attn_norm",
        Point::Q => "q",
        Point::K => "k",
        Point::V => "v",
        Point::QRope => "q_rope",
        Point::KRope => "k_rope",
        Point::AttnOut => "attn_out",
        Point::FfnNorm => "ffn_norm",
        Point::FfnGate => "ffn_gate",
        Point::FfnUp => "ffn_up",
        Point::FfnSilu => "ffn_silu",
        Point::FfnSwiglu => "ffn_swigl",
        Point::FfnDown => "ffn_out",
        Point::Output => "output",
        Point::FinalNorm => "final_norm",
        Point::Logits => "lm_head",
        _ => return None,
    })
}

fn name(site: Site, stage: &str) -> String {
    site.layer.map_or(format!("{stage}.bin"), |layer| format!("layer{layer}_{stage}.bin"))
}

/// Magic, u32 layer, u32 count, then the values as f32, position after position.
fn file(site: Site, values: &Values) -> Vec<u8> {
    let body: Vec<u8> = match values {
        Values::F32(t) => t.data().iter().flat_map(|x| x.to_le_bytes()).collect(),
        Values::F64(t) => t.data().iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
    };
    let layer = (site.layer.unwrap_or(0) as u32).to_le_bytes();
    [b"APRT", &layer[..], &(body.len() as u32 / 4).to_le_bytes(), &body].concat()
}
