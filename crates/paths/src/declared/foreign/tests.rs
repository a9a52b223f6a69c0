use twinpath_engine::{Mask, Op, Tensor};
use twinpath_formats::{Matrix, TensorType};

use super::*;
use crate::declared::SIGMA;
use crate::test_values::Random;

/// Sums of f32 in four orders that engines use: left to right, right to left, in eight lanes, in halves.
fn orders(p: &[f32]) -> [f32; 4] {
    fn halves(p: &[f32]) -> f32 {
        if p.len() <= 2 { p.iter().sum() } else { halves(&p[..p.len() / 2]) + halves(&p[p.len() / 2..]) }
    }
    let lane = |l: usize| p.iter().skip(l).step_by(8).sum::<f32>();
    [p.iter().sum(), p.iter().rev().sum(), (0..8).map(lane).sum(), halves(p)]
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn sums_of_every_order_are_within_the_tolerances_and_use_them() {
    let engine = Engine { activations: Activations::F32, kv: Kv::F32, flash: false };
    let mut values = Random::new(7);
    let mut most = 0.0f64;
    for n in [1, 2, 17, 256, 1024] {
        let (w, x) = (values.values(n), values.values(n));
        let bytes = f32_bytes(&w);
        let weight = Matrix::new(TensorType::F32, 1, n, &bytes).unwrap();
        let made = evaluate(engine, &Op::Linear { weight, bias: None }, &[&Tensor::new(1, n, x.clone())]);
        let products: Vec<f32> = w.iter().zip(&x).map(|(w, x)| w * x).collect();
        for sum in orders(&products) {
            let residual = (f64::from(sum) - made.declared.value[0]).abs();
            assert!(residual <= 8.0 * SIGMA * made.declared.spread[0], "{n}: {residual}");
            assert!(
                made.declared.spread[0] <= made.sure[0] * 1.5 && made.sure[0] <= 1.5 * made.declared.bound[0] * 3.0
            );
            most = most.max(residual / (SIGMA * made.declared.spread[0]));
        }
    }
    assert!(most > 0.3, "the tolerance is {most} sigmas wide of what happens");
}

#[test]
fn one_unit_of_a_scale_convicts_a_row_of_1024_and_flags_one_of_4096() {
    let engine = Engine { activations: Activations::F32, kv: Kv::F32, flash: false };
    for (n, convicts) in [(1024, true), (4096, false)] {
        let mut values = Random::new(3);
        let (w, x) = (values.values(n), values.values(n));
        let bytes = f32_bytes(&w);
        let weight = Matrix::new(TensorType::F32, 1, n, &bytes).unwrap();
        let made = evaluate(engine, &Op::Linear { weight, bias: None }, &[&Tensor::new(1, n, x.clone())]);
        // One group of 32 weights with a scale of 33 in place of 32 (the middle of 6 bits).
        let wrong = w[..32].iter().zip(&x).map(|(w, x)| f64::from(w * x) / 32.0).sum::<f64>().abs();
        assert!(wrong > 8.0 * SIGMA * made.declared.spread[0], "{n}: {wrong} is not flagged");
        // λ of a run of 111 sites of 10 000 elements, both sides counted, with α = 10⁻³.
        assert_eq!(wrong > 7.1 * made.sure[0], convicts, "{n}: {wrong} against {}", made.sure[0]);
    }
}

#[test]
fn a_half_cache_rounds_both_operands() {
    let f16 = Engine { activations: Activations::F32, kv: Kv::F16, flash: false };
    let (q, k) = (Tensor::new(1, 2, vec![1.0 + 1.0 / 4096.0, 0.0]), Tensor::new(1, 2, vec![3.0 + 1.0 / 2048.0, 0.0]));
    let op = Op::Scores { heads: 1, kv_heads: 1, scale: 1.0 };
    assert_eq!(evaluate(f16, &op, &[&q, &k]).declared.value, [3.0]);
    let f32 = Engine { kv: Kv::F32, ..f16 };
    assert!(evaluate(f32, &op, &[&q, &k]).declared.value[0] > 3.0);
}

#[test]
fn what_an_input_is_uncertain_by_reaches_no_further_than_propagated() {
    let mut values = Random::new(11);
    let (t, heads, kv, dim) = (3, 2, 1, 4);
    let mask = Mask { start: 0, window: None };
    let of = |v: &mut Random, rows: usize, cols: usize| Tensor::new(rows, cols, v.values(rows * cols));
    let (q, k, s) = (of(&mut values, t, heads * dim), of(&mut values, t, kv * dim), of(&mut values, t, heads * t));
    let weight = values.values(dim);
    let rope = twinpath_engine::Rope {
        pairing: twinpath_engine::Pairing::HalfSplit,
        frequencies: vec![1.0, 0.1],
        magnitude: 1.0,
    };
    let cases: Vec<(Op<'_>, Vec<&Tensor<f32>>)> = vec![
        (Op::Add, vec![&q, &q]),
        (Op::Multiply, vec![&q, &q]),
        (Op::Silu, vec![&q]),
        (Op::Norm { weight: &weight, eps: 1e-6 }, vec![&q]),
        (Op::Rope { rope: &rope, heads, start: 0 }, vec![&q]),
        (Op::Scores { heads, kv_heads: kv, scale: 0.5 }, vec![&q, &k]),
        (Op::Softmax { heads, mask }, vec![&s]),
        (Op::Mix { heads, kv_heads: kv, mask }, vec![&s, &k]),
    ];
    let engine = Engine { activations: Activations::F32, kv: Kv::F32, flash: false };
    let step = 1.0 / 1024.0;
    for (op, inputs) in cases {
        let before = evaluate(engine, &op, &inputs).declared.value;
        for which in 0..inputs.len() {
            let signs = values.values(inputs[which].data().len());
            let moved = inputs[which].data().iter().zip(&signs).map(|(x, s)| x + step * s.signum()).collect();
            let moved = Tensor::new(inputs[which].rows(), inputs[which].cols(), moved);
            let mut other = inputs.clone();
            other[which] = &moved;
            let after = evaluate(engine, &op, &other).declared.value;
            let reach = propagate(&op, &inputs, which, &vec![f64::from(step); signs.len()]).unwrap();
            let mut most = 0.0f64;
            for i in 0..before.len() {
                let moved = (after[i] - before[i]).abs();
                // First order: a step of 2⁻¹⁰ leaves 2 % for the second.
                assert!(moved <= 1.02 * reach[i] + 1e-6, "{op:?} input {which} element {i}: {moved} of {}", reach[i]);
                most = most.max(moved / reach[i].max(1e-30));
            }
            assert!(most > 0.2, "{op:?} input {which}: the reach is {most} of what is claimed");
        }
    }
}

#[test]
fn a_sum_kept_in_f16_is_within_the_tolerances_of_flash_attention_and_of_no_other() {
    let mut values = Random::new(5);
    let (keys, mask) = (40, Mask { start: 39, window: None });
    let p: Vec<f32> = values.values(keys).iter().map(|x| x.abs() / 20.0).collect();
    let v: Vec<f32> = values.values(keys).iter().map(|x| f16::from_f32(*x).to_f32()).collect();
    let sum = p.iter().zip(&v).fold(f16::ZERO, |sum, (p, v)| f16::from_f32(sum.to_f32() + p * v)).to_f64();
    let op = Op::Mix { heads: 1, kv_heads: 1, mask };
    let inputs = [&Tensor::new(1, keys, p), &Tensor::new(keys, 1, v)];
    let over = |flash: bool| {
        let made = evaluate(Engine { activations: Activations::F32, kv: Kv::F16, flash }, &op, &inputs);
        (sum - made.declared.value[0]).abs() / (8.0 * SIGMA * made.declared.spread[0])
    };
    assert!(over(true) < 1.0 && over(true) > 0.01, "{}", over(true));
    assert!(over(false) > 1.0, "{}", over(false));
}
