//! A loaded model: a container whose every needed tensor was found with the shape that the metadata asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use twinpath_formats::{Matrix, ModelFile, Verify};

use crate::arch::Architecture;
use crate::config::Config;
use crate::error::EngineError;
use crate::load;

/// Endings of tensors that tell the RoPE frequencies, which are read as metadata or follow from it.
const ROPE_TABLES: [&str; 3] = ["rope_freqs.weight", "attn_rot_embd.weight", "rotary_emb.inv_freq"];

/// A matrix with its optional bias.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'m> {
    /// `[out, in]`.
    pub weight: Matrix<'m>,
    /// `[out]`.
    pub bias: Option<&'m [f32]>,
}

/// A model, mapped and checked. Tensors are called by their GGUF names, whatever the container calls them.
pub struct Model {
    file: ModelFile,
    path: PathBuf,
    arch: &'static dyn Architecture,
    config: Config,
    /// Canonical name of each matrix to its name in the container and its shape.
    matrices: BTreeMap<String, (String, [usize; 2])>,
    /// Norm weights and biases, exactly widened to f32.
    vectors: BTreeMap<String, Vec<f32>>,
    tied: bool,
    warnings: Vec<String>,
}

impl Model {
    /// Maps the model at `path` (a GGUF or `.apr` file, or a Hugging Face folder) and checks it.
    ///
    /// # Errors
    /// When the container is bad, the family unknown, metadata missing or senseless, or a tensor missing or of another
    /// shape than the metadata asks for.
    pub fn open(path: &Path, verify: Verify) -> Result<Model, EngineError> {
        let file = ModelFile::open(path, verify)?;
        let (described, warnings) = load::describe(&file, path)?;
        let embedding = load::find(&file, "token_embd.weight").ok_or_else(|| missing(path, "token_embd.weight"))?;
        let vocab = embedding.shape.first().copied().unwrap_or(0);
        let config = described.check(vocab).map_err(|(key, why)| EngineError::BadValue {
            file: path.to_owned(),
            key: key.to_owned(),
            why,
        })?;
        let tied = load::find(&file, "output.weight").is_none();
        let mut model = Model {
            file,
            path: path.to_owned(),
            arch: described.arch,
            config,
            matrices: BTreeMap::new(),
            vectors: BTreeMap::new(),
            tied,
            warnings,
        };
        model.bind_all()?;
        Ok(model)
    }

    fn bind_all(&mut self) -> Result<(), EngineError> {
        let (vocab, hidden) = (self.config.vocab, self.config.hidden);
        self.bind("token_embd.weight", &[vocab, hidden])?;
        self.bind("output_norm.weight", &[hidden])?;
        if !self.tied {
            self.bind("output.weight", &[vocab, hidden])?;
        }
        let specs = self.arch.tensors(&self.config);
        for layer in 0..self.config.layers {
            for spec in &specs {
                self.bind(&format!("blk.{layer}.{}", spec.name), &spec.shape)?;
            }
        }
        self.check_unused()
    }

    /// A bias or a layer left over means that the file asks for another computation than ours.
    fn check_unused(&self) -> Result<(), EngineError> {
        let names = self.matrices.keys().chain(self.vectors.keys());
        let used: BTreeSet<&str> = names.filter_map(|n| load::find(&self.file, n)).map(|t| t.name.as_str()).collect();
        let unknown = |name: &&str| !used.contains(name) && !ROPE_TABLES.iter().any(|end| name.ends_with(end));
        match self.file.tensors().iter().map(|t| t.name.as_str()).find(unknown) {
            None => Ok(()),
            Some(tensor) => Err(EngineError::BadValue {
                file: self.path.clone(),
                key: format!("tensor `{tensor}`"),
                why: format!(
                    "has no part in `{}` of {} layers; the file is of another architecture, or says a wrong number of \
                     layers",
                    self.config.arch, self.config.layers
                ),
            }),
        }
    }

    fn bind(&mut self, name: &str, shape: &[usize]) -> Result<(), EngineError> {
        let entry = load::find(&self.file, name).ok_or_else(|| missing(&self.path, name))?;
        if entry.shape != shape {
            return Err(EngineError::Shape {
                file: self.path.clone(),
                tensor: entry.name.clone(),
                expected: shape.to_vec(),
                found: entry.shape.clone(),
            });
        }
        let stored = entry.name.clone();
        match *shape {
            [rows, cols] => {
                self.file.matrix(&stored)?;
                self.matrices.insert(name.to_owned(), (stored, [rows, cols]));
            }
            _ => {
                let vector = self.decode_vector(&stored)?;
                self.vectors.insert(name.to_owned(), vector);
            }
        }
        Ok(())
    }

    fn decode_vector(&self, stored: &str) -> Result<Vec<f32>, EngineError> {
        let matrix = self.file.matrix(stored)?;
        if matrix.format().block_len() != 1 {
            return Err(EngineError::QuantisedVector {
                file: self.path.clone(),
                tensor: stored.to_owned(),
                found: matrix.format().name(),
            });
        }
        let mut exact = vec![0.0; matrix.cols()];
        matrix.decode_row(0, &mut exact);
        // Exact: every F32, F16 and BF16 value is an f32.
        Ok(exact.into_iter().map(|x| x as f32).collect())
    }

    /// The container.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The family.
    pub fn arch(&self) -> &'static dyn Architecture {
        self.arch
    }

    /// The dimensions.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the head is the embedding.
    pub fn tied(&self) -> bool {
        self.tied
    }

    /// Doubts about the file that do not prevent running it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Names of all matrices that a forward pass reads, in name order.
    pub fn matrix_names(&self) -> impl Iterator<Item = &str> {
        self.matrices.keys().map(String::as_str)
    }

    /// Names and values of all vectors that a forward pass reads, in name order.
    pub fn vectors(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.vectors.iter().map(|(name, v)| (name.as_str(), v.as_slice()))
    }

    /// A matrix by its GGUF name.
    ///
    /// # Panics
    /// When the family does not list it: [`open`](Model::open) has checked all that it lists.
    pub fn matrix(&self, name: &str) -> Matrix<'_> {
        let (stored, _) = self.matrices.get(name).unwrap_or_else(|| unreachable!("{name} is not listed"));
        self.file.matrix(stored).unwrap_or_else(|e| unreachable!("checked when loaded: {e}"))
    }

    /// A vector by its GGUF name; panics as [`matrix`](Model::matrix).
    pub fn vector(&self, name: &str) -> &[f32] {
        self.vectors.get(name).unwrap_or_else(|| unreachable!("{name} is not listed"))
    }

    /// A matrix and its bias by their GGUF name without the ending; panics as [`matrix`](Model::matrix).
    pub fn linear(&self, name: &str) -> Linear<'_> {
        let weight = self.matrix(&format!("{name}.weight"));
        Linear { weight, bias: self.vectors.get(&format!("{name}.bias")).map(Vec::as_slice) }
    }

    /// The embedding table.
    pub fn embedding(&self) -> Linear<'_> {
        self.linear("token_embd")
    }

    /// Weight of the last norm.
    pub fn final_norm(&self) -> &[f32] {
        self.vector("output_norm.weight")
    }

    /// The head: its own matrix, or the embedding where the head is tied.
    pub fn head(&self) -> Linear<'_> {
        self.linear(if self.tied { "token_embd" } else { "output" })
    }

    /// Checks that `tokens` can follow `past` positions.
    ///
    /// # Errors
    /// When there is none, one is outside the vocabulary, or the context is exceeded.
    pub fn check_tokens(&self, tokens: &[u32], past: usize) -> Result<(), EngineError> {
        let c = &self.config;
        if tokens.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if let Some(i) = tokens.iter().position(|t| *t as usize >= c.vocab) {
            return Err(EngineError::TokenOutOfRange { token: tokens[i], position: past + i, vocab: c.vocab });
        }
        if past + tokens.len() > c.context {
            return Err(EngineError::ContextExceeded { needed: past + tokens.len(), context: c.context });
        }
        Ok(())
    }
}

fn missing(path: &Path, tensor: &str) -> EngineError {
    EngineError::MissingTensor { file: path.to_owned(), tensor: tensor.to_owned() }
}
