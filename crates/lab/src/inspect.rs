//! Looking at a model file without running it.

use std::path::Path;

use twinpath_engine::{Model, Pairing, load};
use twinpath_evidence::{Inspection, ModelFacts, TensorFacts, TypeCount};
use twinpath_formats::quant::FORMATS;
use twinpath_formats::{ModelFile, TensorEntry, Verify};

use crate::error::LabError;

/// Looks at `path`; with `deep`, also verifies what needs reading all of it: the footer's checksum and every block scale.
///
/// # Errors
/// When the container is not sound. A sound container of an unknown family is no error.
pub fn inspect(path: &Path, deep: bool) -> Result<Inspection, LabError> {
    let verify = if deep { Verify::All } else { Verify::Header };
    let opened = Model::open(path, verify);
    let file;
    let (container, model, warnings): (&ModelFile, _, _) = match &opened {
        Ok(model) => (model.file(), Ok(facts(model)), model.warnings().to_vec()),
        Err(e) => {
            file = ModelFile::open(path, verify)?;
            (&file, Err(e.to_string()), Vec::new())
        }
    };
    let mut verified = vec!["structure: counts, types, bounds, overlap".to_owned()];
    if container.kind() == "apr" {
        verified.push(if deep { "header and footer checksums".into() } else { "header checksum".into() });
    }
    if deep {
        container.check_finite()?;
        verified.push("every block scale is finite".to_owned());
    }
    let mut files = Vec::new();
    for path in container.paths().into_iter().filter(|p| !p.is_dir()) {
        let io = |source| LabError::Io { file: path.to_owned(), source };
        files.push((path.display().to_string(), std::fs::metadata(path).map_err(io)?.len()));
    }
    let tensors: Vec<TensorFacts> = container.tensors().iter().map(tensor).collect();
    Ok(Inspection {
        container: container.kind().to_owned(),
        files,
        model,
        types: types(&tensors),
        tensors,
        verified,
        warnings,
    })
}

fn tensor(entry: &TensorEntry) -> TensorFacts {
    TensorFacts {
        name: entry.name.clone(),
        tensor_type: entry.tensor_type.name().to_owned(),
        shape: entry.shape.clone(),
        bytes: entry.byte_len(),
        offset: entry.file_offset(),
    }
}

fn types(tensors: &[TensorFacts]) -> Vec<TypeCount> {
    let count = |name: &str| {
        let of_type: Vec<_> = tensors.iter().filter(|t| t.tensor_type == name).collect();
        TypeCount { name: name.to_owned(), tensors: of_type.len(), bytes: of_type.iter().map(|t| t.bytes).sum() }
    };
    FORMATS.iter().map(|f| count(f.name())).filter(|c| c.tensors > 0).collect()
}

fn facts(model: &Model) -> ModelFacts {
    let c = model.config();
    let dimensions = [
        ("hidden size", c.hidden),
        ("layers", c.layers),
        ("heads", c.heads),
        ("kv heads", c.kv_heads),
        ("head dimension", c.head_dim),
        ("feed-forward size", c.ffn),
        ("vocabulary", c.vocab),
        ("context", c.context),
    ];
    let pairing = match c.rope.pairing {
        Pairing::Adjacent => "adjacent pairs",
        Pairing::HalfSplit => "half-split pairs",
    };
    let slowest = c.rope.frequencies.last().copied().unwrap_or(0.0);
    let windows = c.windows.iter().flatten().count();
    let attention = match c.windows.iter().flatten().next() {
        None => "full causal attention".to_owned(),
        Some(w) => format!("sliding window of {w} in {windows} of {} layers", c.layers),
    };
    let matrices: u64 = model.matrix_names().map(|n| model.matrix(n)).map(|m| (m.rows() * m.cols()) as u64).sum();
    let vectors: u64 = model.vectors().map(|(_, v)| v.len() as u64).sum();
    let tokenizer = match load::tokenizer(model.file(), model.path()) {
        Ok(Some(t)) => format!("{} tokens{}", t.vocab_size(), t.chat_template().map_or("", |_| ", chat template")),
        Ok(None) => "none: give token ids".to_owned(),
        Err(e) => format!("cannot be used: {e}"),
    };
    ModelFacts {
        architecture: model.arch().name().to_owned(),
        dimensions: dimensions.iter().map(|(name, value)| ((*name).to_owned(), *value as u64)).collect(),
        rope: format!(
            "{pairing}, {} frequencies from {} down to {slowest:.3e} rad/position, magnitude {}",
            c.rope.frequencies.len(),
            c.rope.frequencies.first().copied().unwrap_or(0.0),
            c.rope.magnitude
        ),
        attention,
        tied: model.tied(),
        parameters: matrices + vectors,
        tokenizer,
    }
}
