//! Recordings of other implementations, and how their names map to sites.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use twinpath_engine::{Config, Elem, Op, Pairing, Point, Probe, Site, Tensor};

/// A file of the repository.
pub(crate) fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The recordings that are too large for the repository; `None`, with a line that says so, where they are absent.
pub(crate) fn shared_teacher(what: &str) -> Option<PathBuf> {
    let folder = repo("../shared/teacher");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: {what}: needs ../shared/teacher, which is not there");
    None
}

/// A recording: token ids, f32 values by Hugging Face name, and f64 logits of an independent forward pass.
pub(crate) struct Recording {
    pub tokens: Vec<u32>,
    pub values: BTreeMap<String, Tensor<f32>>,
    pub logits: Tensor<f64>,
}

impl Recording {
    pub(crate) fn open(path: &Path) -> Recording {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let ids = file.tensor("input_ids").unwrap();
        let tokens = ids.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect();
        let mut values = BTreeMap::new();
        for (name, view) in file.tensors().into_iter().filter(|(_, v)| v.dtype() == Dtype::F32) {
            let data = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            values.insert(name, Tensor::new(view.shape()[0], view.shape()[1], data));
        }
        let logits = file.tensor("logits_np64").unwrap();
        let data = logits.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        let logits = Tensor::new(logits.shape()[0], logits.shape()[1], data);
        Recording { tokens, values, logits }
    }

    /// The recorded values by site. Names of the residual stream that repeat another site are left out.
    pub(crate) fn sites(&self) -> BTreeMap<Site, &Tensor<f32>> {
        let mut sites = BTreeMap::new();
        for (name, value) in &self.values {
            let site = match name.as_str() {
                "model.embed_tokens.out" => Site::outer(Point::Embed),
                "model.norm.out" => Site::outer(Point::FinalNorm),
                "logits" => Site::outer(Point::Logits),
                "model.norm.in" => continue,
                name if name.starts_with("hidden_states.") => continue,
                name => layer_site(name).unwrap_or_else(|| panic!("no site for {name}")),
            };
            sites.insert(site, value);
        }
        sites
    }
}

fn layer_site(name: &str) -> Option<Site> {
    let (layer, point) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let point = match point {
        "input_layernorm.out" => Point::AttnNorm,
        "self_attn.q_proj.out" => Point::Q,
        "self_attn.k_proj.out" => Point::K,
        "self_attn.v_proj.out" => Point::V,
        "self_attn.q_norm.out" => Point::QNorm,
        "self_attn.k_norm.out" => Point::KNorm,
        "self_attn.q_rope" => Point::QRope,
        "self_attn.k_rope" => Point::KRope,
        "self_attn.o_proj.in" => Point::AttnCtx,
        "self_attn.o_proj.out" => Point::AttnOut,
        "resid_mid" => Point::AttnResidual,
        "post_attention_layernorm.out" => Point::FfnNorm,
        "mlp.gate_proj.out" => Point::FfnGate,
        "mlp.up_proj.out" => Point::FfnUp,
        "mlp.down_proj.in" => Point::FfnSwiglu,
        "mlp.out" => Point::FfnDown,
        "out" => Point::Output,
        _ => return None,
    };
    Some(Site::block(layer.parse().ok()?, point))
}

/// Keeps every value of a run, widened.
#[derive(Default)]
pub(crate) struct Keep(pub BTreeMap<Site, Tensor<f64>>);

impl<E: Elem> Probe<E> for Keep {
    fn see(&mut self, site: Site, _: &Op<'_>, _: &[&Tensor<E>], value: &mut Tensor<E>) {
        let data = value.data().iter().map(|x| x.to_f64()).collect();
        self.0.insert(site, Tensor::new(value.rows(), value.cols(), data));
    }
}

/// Rows of q and k as Hugging Face orders them: files with adjacent pairs hold old element `s * half + i` at `2 i + s`.
pub(crate) fn in_hf_order(config: &Config, site: Site, value: &Tensor<f64>) -> Tensor<f64> {
    let rotated = matches!(site.point, Point::Q | Point::K | Point::QRope | Point::KRope);
    if !rotated || config.rope.pairing == Pairing::HalfSplit {
        return value.clone();
    }
    let (dim, half) = (config.head_dim, config.head_dim / 2);
    let mut out = value.clone();
    for t in 0..value.rows() {
        for (from, to) in value.row(t).chunks_exact(dim).zip(out.row_mut(t).chunks_exact_mut(dim)) {
            for i in 0..half {
                (to[i], to[half + i]) = (from[2 * i], from[2 * i + 1]);
            }
        }
    }
    out
}

/// `‖x − r‖₂ / ‖r‖₂` over all elements of both, which must be of one shape.
pub(crate) fn relative_l2<A: Elem, B: Elem>(x: &Tensor<A>, r: &Tensor<B>) -> f64 {
    assert_eq!((x.rows(), x.cols()), (r.rows(), r.cols()), "values of one shape");
    let pairs = || x.data().iter().zip(r.data()).map(|(x, r)| (x.to_f64(), r.to_f64()));
    let difference: f64 = pairs().map(|(x, r)| (x - r) * (x - r)).sum();
    let norm: f64 = pairs().map(|(_, r)| r * r).sum();
    (difference / norm).sqrt()
}

/// Index of the largest value of each row, the first of equal ones.
pub(crate) fn top1<E: Elem>(logits: &Tensor<E>) -> Vec<usize> {
    let best =
        |row: &[E]| (0..row.len()).fold(0, |best, i| if row[i].to_f64() > row[best].to_f64() { i } else { best });
    (0..logits.rows()).map(|t| best(logits.row(t))).collect()
}
