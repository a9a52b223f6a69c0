//! # What goes wrong
//!
//! Attention sees other keys than the mask admits: the sliding window is off by one, ignored, or imposed on a layer that
//! has none; a token does not see itself, or sees the next one.
//!
//! # Seen in
//!
//! transformers 26792 and 29623, vLLM 3385, Megatron-Bridge 2656, llama.cpp 8227, mlx-lm 390, mistral.rs 246, mlx-vlm 669.
//!
//! # What it changes
//!
//! Attention probabilities of positions beyond the window.
//!
//! # When it can not be seen
//!
//! On prompts shorter than the window.
//!
//! # Equivalent to
//!
//! A window larger than the prompt is full attention.

use twinpath_engine::op::Mask;
use twinpath_engine::{Op, Tensor};

use super::{Scene, Suspect, kit};
use crate::change::{Change, rows};

pub(super) const SUSPECT: Suspect = Suspect { name: "window", source: include_str!("window.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Softmax { mask, .. } | Op::Mix { mask, .. }) = *scene.op else { return Vec::new() };
    let to = |name: String, window: Option<usize>| kit::masked(name, move |m| Mask { window, ..m });
    let keys = mask.start + scene.inputs[0].rows();
    let mut all = Vec::new();
    match mask.window {
        Some(w) => {
            all.push(to(format!("window {} for {w}", w + 1), Some(w + 1)));
            all.push(to("window ignored".into(), None));
            if w > 1 {
                all.push(to(format!("window {} for {w}", w - 1), Some(w - 1)));
            }
        }
        None => {
            let sizes = [1, 2, 4, 8, 16, 32, 64, 128, 512, 1024, 2048, 4096].into_iter().filter(|w| *w < keys);
            all.extend(sizes.map(|w| to(format!("window {w} imposed"), Some(w))));
        }
    }
    if matches!(scene.op, Op::Softmax { .. }) {
        all.push(next());
    }
    all
}

/// Each token but the last sees the next one, too.
fn next() -> Change {
    Change::op("the next token is seen", |op, x, then| {
        let Op::Softmax { heads, mask } = *op else { return then(0..rows(op, x), op, x) };
        let (last, keys) = (x[0].rows() - 1, x[0].cols() / heads);
        let one = |t: usize| -> Tensor<f32> { x[0].rows_of(t..t + 1) };
        for t in 0..=last {
            let wider = usize::from(mask.start + t + 1 < keys);
            let window = mask.window.map(|w| w + wider);
            let mask = Mask { start: mask.start + t + wider, window };
            then(t..t + 1, &Op::Softmax { heads, mask }, &[&one(t)]);
        }
    })
}
