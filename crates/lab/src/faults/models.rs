//! Models to plant faults in: the bundled one, the small ones of `testdata/tiny`, and random ones of packed weights.

use std::path::Path;

use half::f16;
use twinpath_engine::Model;
use twinpath_engine::rng::SplitMix64;
use twinpath_formats::atomic::write_error;
use twinpath_formats::gguf::{self, Metadata, Value};
use twinpath_formats::{TensorPlan, TensorType, Verify};

use crate::LabError;

/// A model with the way it is talked of.
pub(super) struct Named {
    /// `qwen2 Q4_K_M (random)`.
    pub(super) name: String,
    /// The model.
    pub(super) model: Model,
    /// Whether its weights are packed.
    pub(super) packed: bool,
}

/// Folders of `testdata/tiny`, all F32.
const TINY: [&str; 6] = ["llama-gqa4", "llama3-rope", "mistral-window", "qwen2-window", "qwen2-yarn", "qwen3"];

/// Families of random models.
const FAMILIES: [&str; 3] = ["qwen2", "llama", "qwen3"];

/// All models; two of them for the short form.
///
/// # Errors
/// When one cannot be read, or a random one cannot be written to `scratch`.
pub(super) fn all(root: &Path, scratch: &Path, seed: u64, quick: bool) -> Result<Vec<Named>, LabError> {
    let open = |path: &Path| Model::open(path, Verify::All);
    let mut models = Vec::new();
    for tiny in TINY.iter().take(if quick { 1 } else { TINY.len() }) {
        let model = open(&root.join(format!("testdata/tiny/{tiny}/model.gguf")))?;
        models.push(Named { name: format!("{tiny} F32"), model, packed: false });
    }
    for (name, kind) in [("Q8_0", Kind::Q8), ("Q4_K_M", Kind::Q4)].into_iter().skip(usize::from(quick)) {
        for family in FAMILIES.iter().take(if quick { 1 } else { FAMILIES.len() }) {
            let path = scratch.join(format!("{family}-{name}.gguf"));
            write(&path, family, kind, seed)?;
            models.push(Named { name: format!("{family} {name} (random)"), model: open(&path)?, packed: true });
        }
    }
    if !quick {
        let model = open(&root.join("zoo/teacher-q4_k_m.gguf"))?;
        models.push(Named { name: "bundled Q4_K_M".to_owned(), model, packed: true });
    }
    Ok(models)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Q8,
    Q4,
}

const HIDDEN: usize = 256;
const FFN: usize = 512;
const HEADS: usize = 8;
const KV_HEADS: usize = 2;
const LAYERS: usize = 2;
const VOCAB: usize = 128;

/// Writes a random model of two layers, 256 wide.
fn write(path: &Path, family: &str, kind: Kind, seed: u64) -> Result<(), LabError> {
    let plans = plans(family, kind);
    let mut metadata = Metadata::default();
    let mut set = |key: &str, value| metadata.set(key, value);
    let number = |n: usize| Value::U32(n as u32);
    set("general.architecture", Value::String(family.into()));
    for (key, value) in [
        ("block_count", number(LAYERS)),
        ("context_length", number(4096)),
        ("embedding_length", number(HIDDEN)),
        ("feed_forward_length", number(FFN)),
        ("attention.head_count", number(HEADS)),
        ("attention.head_count_kv", number(KV_HEADS)),
        ("attention.key_length", number(HIDDEN / HEADS)),
        ("attention.value_length", number(HIDDEN / HEADS)),
        ("rope.freq_base", Value::F32(1e6)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
    ] {
        set(&format!("{family}.{key}"), value);
    }
    gguf::write(path, &metadata, &plans, &mut |i, out| {
        let bytes = random(&plans[i], seed.wrapping_add(i as u64 * 7919));
        out.write_all(&bytes).map_err(|e| write_error(path, e))
    })?;
    Ok(())
}

fn plans(family: &str, kind: Kind) -> Vec<TensorPlan> {
    let (weights, more) = match kind {
        Kind::Q8 => (TensorType::Q8_0, TensorType::Q8_0),
        Kind::Q4 => (TensorType::Q4K, TensorType::Q6K),
    };
    let kv = HIDDEN / HEADS * KV_HEADS;
    let matrix = |name: &str, t, rows, cols| TensorPlan::new(&format!("{name}.weight"), t, &[rows, cols]);
    let vector = |name: String, n| TensorPlan::new(&name, TensorType::F32, &[n]);
    let mut all = vec![matrix("token_embd", weights, VOCAB, HIDDEN)];
    for l in 0..LAYERS {
        let name = |name: &str| format!("blk.{l}.{name}");
        all.push(matrix(&name("attn_q"), weights, HIDDEN, HIDDEN));
        all.push(matrix(&name("attn_k"), weights, kv, HIDDEN));
        all.push(matrix(&name("attn_v"), more, kv, HIDDEN));
        all.push(matrix(&name("attn_output"), weights, HIDDEN, HIDDEN));
        all.push(matrix(&name("ffn_gate"), weights, FFN, HIDDEN));
        all.push(matrix(&name("ffn_up"), weights, FFN, HIDDEN));
        all.push(matrix(&name("ffn_down"), more, HIDDEN, FFN));
        all.extend(["attn_norm.weight", "ffn_norm.weight"].map(|n| vector(name(n), HIDDEN)));
        match family {
            "qwen2" => {
                all.extend(
                    [("attn_q.bias", HIDDEN), ("attn_k.bias", kv), ("attn_v.bias", kv)]
                        .map(|(n, len)| vector(name(n), len)),
                );
            }
            "qwen3" => {
                all.extend(["attn_q_norm.weight", "attn_k_norm.weight"].map(|n| vector(name(n), HIDDEN / HEADS)))
            }
            _ => {}
        }
    }
    all.push(vector("output_norm.weight".to_owned(), HIDDEN));
    all.push(matrix("output", more, VOCAB, HIDDEN));
    all
}

/// Random bytes with scales that make the weights of 256 inputs about 1/16 in size; norms near 1, biases near 0.
fn random(plan: &TensorPlan, seed: u64) -> Vec<u8> {
    let mut rng = SplitMix64::new(seed);
    let values: usize = plan.shape.iter().product();
    if plan.tensor_type == TensorType::F32 {
        let centre = if plan.name.ends_with("bias") { 0.0 } else { 1.0 };
        let mut value = || (centre + 0.2 * (rng.next_f64() - 0.5)) as f32;
        return (0..values).flat_map(|_| value().to_le_bytes()).collect();
    }
    let format = plan.tensor_type.format();
    let mut bytes = vec![0u8; values / format.block_len() * format.block_bytes()];
    bytes.iter_mut().for_each(|b| *b = (rng.next_u64() >> 56) as u8);
    let half = |x: f64| f16::from_f64(x).to_le_bytes();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        // Scales of full mantissas: a power of two would make weights that f16 and bf16 hold exactly.
        let d = |exponent: i32, rng: &mut SplitMix64| (0.75 + 0.5 * rng.next_f64()) * 2f64.powi(exponent);
        match plan.tensor_type {
            // Weights d (s q - 7.5 m), s and m below 64, q below 16.
            TensorType::Q4K => {
                let d = d(-12, &mut rng);
                block[..4].copy_from_slice(&[half(d), half(7.5 * d)].concat());
            }
            // Weights d s (q - 32), s below 128 in size.
            TensorType::Q6K => block[208..].copy_from_slice(&half(d(-14, &mut rng))),
            _ => block[..2].copy_from_slice(&half(d(-10, &mut rng))),
        }
    }
    bytes
}
