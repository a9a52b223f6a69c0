//! Records every value of a forward pass in candle, for `twinpath compare MODEL FILE`: an example of how to capture an engine
//! that is a library.
//!
//! Makes   one safetensors file: each value as `[tokens, width]` under twinpath's own names (`twinpath list points`),
//!         `input_ids`, `positions`, and what made them under the key `twinpath.capture`
//! From    a GGUF file of the `qwen2` or `llama` family, whose matrices candle multiplies as they are packed
//! Run     cargo run --release -- ../../zoo/teacher-q4_k_m.gguf 636,864,1548 candle.safetensors   (in this folder)
//! Needs   the versions of Cargo.toml; nothing of the project's own build depends on it

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;

use candle_core::quantized::QMatMul;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{D, DType, Device, Module, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An open model, and what it has computed so far.
struct Capture {
    file: File,
    content: Content,
    values: Vec<(String, Tensor)>,
}

impl Capture {
    fn number(&self, key: &str) -> Result<f64> {
        let arch = self.content.metadata.get("general.architecture").ok_or("no general.architecture")?.to_string()?;
        let key = format!("{arch}.{key}");
        match self.content.metadata.get(&key).ok_or(format!("the file has no {key}"))? {
            Value::F32(x) => Ok(f64::from(*x)),
            other => Ok(f64::from(other.to_u32()?)),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// A tensor in f32.
    fn plain(&mut self, name: &str) -> Result<Tensor> {
        Ok(self.content.tensor(&mut self.file, name, &Device::Cpu)?.dequantize(&Device::Cpu)?)
    }

    /// `x Wᵀ + b`, with the weights as they are packed.
    fn linear(&mut self, name: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.content.tensor(&mut self.file, &format!("{name}.weight"), &Device::Cpu)?;
        let y = QMatMul::from_qtensor(weight)?.forward(x)?;
        let bias = format!("{name}.bias");
        if self.has(&bias) { Ok(y.broadcast_add(&self.plain(&bias)?)?) } else { Ok(y) }
    }

    fn norm(&mut self, name: &str, x: &Tensor) -> Result<Tensor> {
        let eps = self.number("attention.layer_norm_rms_epsilon")?;
        Ok(rms_norm(x, &self.plain(&format!("{name}.weight"))?, eps as f32)?)
    }

    /// Keeps `x` as the value of `site`, and hands it back.
    fn see(&mut self, site: &str, x: Tensor) -> Tensor {
        self.values.push((site.to_owned(), x.clone()));
        x
    }
}

/// `[T, heads * d]` to `[1, heads, T, d]`.
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    Ok(x.reshape((1, tokens, heads, width / heads))?.transpose(1, 2)?.contiguous()?)
}

/// `[1, heads, T, d]` to `[T, heads * d]`.
fn join(x: &Tensor) -> Result<Tensor> {
    let (_, heads, tokens, d) = x.dims4()?;
    Ok(x.transpose(1, 2)?.reshape((tokens, heads * d))?.contiguous()?)
}

/// Each key head as often as there are query heads that read it.
fn repeat(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, kv, tokens, d) = x.dims4()?;
    Ok(x.unsqueeze(2)?.expand((b, kv, heads / kv, tokens, d))?.reshape((b, heads, tokens, d))?.contiguous()?)
}

fn forward(c: &mut Capture, ids: &[u32]) -> Result<()> {
    let arch = c.content.metadata.get("general.architecture").ok_or("no general.architecture")?.to_string()?.clone();
    let turn: fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor> = match arch.as_str() {
        "qwen2" => rope,
        // The rows of Llama's queries and keys are permuted for adjacent pairs.
        "llama" => rope_i,
        other => return Err(format!("qwen2 and llama are known, not {other}").into()),
    };
    let tokens = ids.len();
    let (layers, heads) = (c.number("block_count")? as usize, c.number("attention.head_count")? as usize);
    let kv_heads = c.number("attention.head_count_kv")? as usize;
    let table = c.plain("token_embd.weight")?;
    let dim = table.dim(1)? / heads;
    let base = c.number("rope.freq_base").unwrap_or(1e4) as f32;
    let frequencies: Vec<f32> = (0..dim / 2).map(|i| base.powf(-2.0 * i as f32 / dim as f32)).collect();
    let positions: Vec<f32> = (0..tokens).map(|t| t as f32).collect();
    let positions = Tensor::from_vec(positions, (tokens, 1), &Device::Cpu)?;
    let angles = positions.matmul(&Tensor::from_vec(frequencies, (1, dim / 2), &Device::Cpu)?)?;
    let (cos, sin) = (angles.cos()?, angles.sin()?);
    let cells = (0..tokens * tokens).map(|i| if i % tokens > i / tokens { f32::NEG_INFINITY } else { 0.0 });
    let mask = Tensor::from_vec(cells.collect::<Vec<f32>>(), (tokens, tokens), &Device::Cpu)?;

    let ids = Tensor::new(ids, &Device::Cpu)?;
    let mut x = c.see("embed", table.index_select(&ids, 0)?);
    for layer in 0..layers {
        let blk = |name: &str| format!("blk.{layer}.{name}");
        let h = c.norm(&blk("attn_norm"), &x)?;
        let h = c.see(&blk("attn_norm"), h);
        let mut heads_of = |point: &str, n: usize, rotated: bool| -> Result<Tensor> {
            let y = c.linear(&blk(&format!("attn_{point}")), &h)?;
            let y = split(&c.see(&blk(point), y), n)?;
            if !rotated {
                return Ok(y);
            }
            let y = turn(&y, &cos, &sin)?;
            c.see(&blk(&format!("{point}_rope")), join(&y)?);
            Ok(y)
        };
        let (q, k) = (heads_of("q", heads, true)?, heads_of("k", kv_heads, true)?);
        let v = heads_of("v", kv_heads, false)?;
        let keys = repeat(&k, heads)?.transpose(2, 3)?.contiguous()?;
        let scores = (q.matmul(&keys)? / (dim as f64).sqrt())?;
        c.see(&blk("attn_scores"), join(&scores)?);
        let probs = softmax_last_dim(&scores.broadcast_add(&mask)?)?;
        c.see(&blk("attn_probs"), join(&probs)?);
        let ctx = join(&probs.matmul(&repeat(&v, heads)?)?)?;
        let ctx = c.see(&blk("attn_ctx"), ctx);
        let out = c.linear(&blk("attn_output"), &ctx)?;
        let out = c.see(&blk("attn_out"), out);
        x = c.see(&blk("attn_residual"), (x + out)?);
        let h = c.norm(&blk("ffn_norm"), &x)?;
        let h = c.see(&blk("ffn_norm"), h);
        let gate = c.linear(&blk("ffn_gate"), &h)?;
        let gate = c.see(&blk("ffn_gate"), gate);
        let up = c.linear(&blk("ffn_up"), &h)?;
        let up = c.see(&blk("ffn_up"), up);
        let gate = c.see(&blk("ffn_silu"), silu(&gate)?);
        let hidden = c.see(&blk("ffn_swiglu"), (gate * up)?);
        let down = c.linear(&blk("ffn_down"), &hidden)?;
        let down = c.see(&blk("ffn_down"), down);
        x = c.see(&blk("output"), (x + down)?);
    }
    let h = c.norm("output_norm", &x)?;
    let h = c.see("final_norm", h);
    let head = if c.has("output.weight") { "output" } else { "token_embd" };
    let logits = c.linear(head, &h)?;
    c.see("logits", logits);
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, tokens, out] = args.as_slice() else { return Err("give MODEL.gguf TOKENS OUT.safetensors".into()) };
    let ids = tokens.split(',').map(|t| t.trim().parse()).collect::<std::result::Result<Vec<u32>, _>>()?;
    let mut file = File::open(model)?;
    let content = Content::read(&mut file)?;
    let mut capture = Capture { file, content, values: Vec::new() };
    forward(&mut capture, &ids)?;

    let capture_of = serde_json::json!({
        "engine": "candle-core 0.11.1, processor", "activations": "ggml", "kv": "f32", "dtype": "f32",
        "threads": candle_core::utils::get_num_threads(),
        "model": [{ "path": model, "blake3": blake3::hash(&std::fs::read(model)?).to_hex().to_string() }],
        "command": format!("capture-candle {}", args.join(" ")),
    });
    let bytes_of = |x: &Tensor| -> Result<Vec<u8>> {
        let values = x.to_dtype(DType::F32)?.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
        Ok(values.iter().flat_map(|x| x.to_le_bytes()).collect())
    };
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, x) in &capture.values {
        tensors.push((name.clone(), Dtype::F32, vec![ids.len(), x.dim(D::Minus1)?], bytes_of(x)?));
    }
    let ints = |values: &mut dyn Iterator<Item = u32>| values.flat_map(|x| i64::from(x).to_le_bytes()).collect();
    let lengths = vec![ids.len()];
    tensors.push(("input_ids".into(), Dtype::I64, lengths.clone(), ints(&mut ids.iter().copied())));
    tensors.push(("positions".into(), Dtype::I64, lengths, ints(&mut (0..ids.len() as u32))));
    let views =
        tensors.iter().map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([("twinpath.capture".to_owned(), capture_of.to_string())]);
    safetensors::serialize_to_file(views, Some(metadata), out.as_ref())?;
    println!("{out}: {} values", capture.values.len());
    Ok(())
}
