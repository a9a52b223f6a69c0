//! The statistical tier: its false alarms, its calibration, its power, and where it must not convict.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Numerics, Op, Point, Site, Tensor};
use twinpath_evidence::statistical::{Method, Statistical};
use twinpath_evidence::verdict::{ContrastKind, Evidence};
use twinpath_evidence::{Finding, Verdict};
use twinpath_formats::{Matrix, TensorType};
use twinpath_lab::statistical::Outputs;
use twinpath_paths::declared::{Reading, anatomy, linear};
use twinpath_paths::{FusedQ8k, Path};

const ROWS: usize = 96;
const COLS: usize = 512;
const TOKENS: usize = 8;

struct Random(SplitMix64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0.next_f64()
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Student's t with three degrees of freedom.
    fn heavy(&mut self) -> f64 {
        let chi: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (chi / 3.0).sqrt()
    }
}

/// Kinds of weights: independent rows, heavy tails, outlier columns, correlated rows, rows of one sign.
const WEIGHTS: [&str; 5] = ["gauss", "t3", "outlier columns", "low rank", "one-signed rows"];
/// Kinds of activations.
const ACTIVATIONS: [&str; 10] = [
    "gauss",
    "t3",
    "channels x20",
    "one channel x100",
    "sparse",
    "swiglu",
    "bf16",
    "lattice",
    "dead zone",
    "one-signed dead zone",
];

fn weights(kind: &str, random: &mut Random) -> Vec<f64> {
    let factors: Vec<f64> = (0..4 * COLS).map(|_| random.normal()).collect();
    let mut w = Vec::with_capacity(ROWS * COLS);
    for _ in 0..ROWS {
        let mix: Vec<f64> = (0..4).map(|_| random.normal()).collect();
        for i in 0..COLS {
            w.push(match kind {
                "gauss" => random.normal(),
                "t3" => random.heavy(),
                "outlier columns" => random.normal() * if i % 97 == 3 { 20.0 } else { 1.0 },
                "low rank" => (0..4).map(|k| mix[k] * factors[k * COLS + i]).sum::<f64>() + 0.3 * random.normal(),
                _ => random.normal().abs() + 0.2,
            });
        }
    }
    w
}

fn activations(kind: &str, random: &mut Random) -> Tensor<f32> {
    let value = |i: usize, random: &mut Random| match kind {
        "gauss" => random.normal(),
        "t3" => random.heavy(),
        "channels x20" => random.normal() * if i % 100 == 7 { 20.0 } else { 1.0 },
        "one channel x100" => random.normal() * if i == 300 { 100.0 } else { 1.0 },
        "sparse" => {
            if random.uniform() < 0.9 {
                0.0
            } else {
                random.normal()
            }
        }
        "swiglu" => random.normal() * random.normal().max(-0.2),
        "bf16" => f64::from(f32::from_bits((random.normal() as f32).to_bits() & 0xffff_0000)),
        "lattice" => (random.normal() * 16.0).round() / 16.0,
        "dead zone" => {
            if i % 256 == 77 {
                1000.0
            } else {
                random.normal()
            }
        }
        _ => {
            if i % 256 == 77 {
                1000.0
            } else {
                random.normal().abs() + 0.1
            }
        }
    };
    let data = (0..TOKENS * COLS).map(|i| value(i % COLS, random) as f32).collect();
    Tensor::new(TOKENS, COLS, data)
}

/// Q6_K blocks near the weights: one scale for each 16 values, codes of 6 bits.
fn packed(w: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for w in w.chunks_exact(256) {
        let most = w.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        let d = half::f16::from_f64(most / (31.0 * 127.0));
        let mut block = [0u8; 210];
        block[208..].copy_from_slice(&d.to_le_bytes());
        for (g, w) in w.chunks_exact(16).enumerate() {
            let most = w.iter().fold(0.0f64, |m, w| m.max(w.abs()));
            let scale = (most / (31.0 * d.to_f64())).round().clamp(1.0, 127.0);
            block[192 + g] = scale as u8;
            for (k, w) in w.iter().enumerate() {
                let code = ((w / (scale * d.to_f64())).round().clamp(-32.0, 31.0) + 32.0) as u8;
                let i = 16 * g + k;
                let (h, j, l) = (i / 128, i % 128 / 32, i % 32);
                block[64 * h + 32 * (j % 2) + l] |= (code & 15) << (4 * (j / 2));
                block[128 + 32 * h + l] |= (code >> 4) << (2 * j);
            }
        }
        bytes.extend(block);
    }
    bytes
}

/// What the fused path makes of them, with `change` applied, judged.
fn judge(bytes: &[u8], x: &Tensor<f32>, alpha: f64, change: impl FnOnce(&Matrix<'_>, &mut Tensor<f32>)) -> Statistical {
    let weight = Matrix::new(TensorType::Q6K, ROWS, COLS, bytes).unwrap();
    let path = FusedQ8k::new();
    let mut value = path.eval(Site::block(0, Point::Q), &Op::Linear { weight, bias: None }, &[x]);
    change(&weight, &mut value);
    let reading = path.reading(TensorType::Q6K);
    Outputs { weight, bias: None, x, value: &value, reading }.judge(alpha, 0)
}

/// Upper end of the exact (Clopper-Pearson) 95 % interval for a share of which `k` of `n` were seen.
fn upper(k: usize, n: usize) -> f64 {
    use statrs::distribution::{Beta, ContinuousCDF};
    if k == n { 1.0 } else { Beta::new((k + 1) as f64, (n - k) as f64).unwrap().inverse_cdf(0.975) }
}

/// Whether the size is one that its χ² distribution has in all but two of a million cases.
fn plausible(s: &Statistical) -> bool {
    use statrs::distribution::{ChiSquared, ContinuousCDF};
    let nu = s.tests.aggregate.freedoms();
    let tail = ChiSquared::new(nu).unwrap().cdf(nu * s.ratio_e * s.ratio_e);
    // Below twenty freedoms the tails are heavier by a factor of up to six.
    let least = if nu < 20.0 { 1e-7 } else { 1e-6 };
    tail > least && 1.0 - tail > least
}

const ALPHA: f64 = 0.05;

#[test]
fn faithful_outputs_are_convicted_no_more_often_than_stated_and_their_size_is_predicted() {
    let mut random = Random(SplitMix64::new(11));
    let (mut cases, mut raw, mut convicted, mut drawn) = (0, 0, 0, 0);
    let mut worst: Vec<(String, f64, f64)> = Vec::new();
    let mut pooled: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for _ in 0..3 {
        for kind in WEIGHTS {
            let bytes = packed(&weights(kind, &mut random));
            for activation in ACTIVATIONS {
                let x = activations(activation, &mut random);
                let s = judge(&bytes, &x, ALPHA, |_, _| {});
                let coherent = kind == "one-signed rows" && activation == "one-signed dead zone";
                let verdict = s.verdict();
                convicted += usize::from(matches!(verdict, Verdict::Unexplained { .. }));
                assert!(s.worst_case <= 1.0, "{kind}, {activation}: beyond the worst case: {s:?}");
                if coherent {
                    assert!(!s.random && s.tests.convicts(ALPHA), "{s:?}");
                    assert!(matches!(verdict, Verdict::Possible { .. }), "{verdict:?}");
                    continue;
                }
                if activation == "one-signed dead zone" {
                    continue;
                }
                cases += 1;
                raw += usize::from(s.tests.convicts(ALPHA));
                drawn += usize::from(matches!(s.tests.method, Method::RandomSigns { .. }));
                worst.push((format!("{kind}, {activation}"), s.ratio_e, s.ratio_u));
                assert!(
                    plausible(&s),
                    "{kind}, {activation}: {} with {} freedoms",
                    s.ratio_e,
                    s.tests.aggregate.freedoms()
                );
                let sums = pooled.entry(kind).or_insert((0.0, 0.0));
                sums.0 += s.tests.aggregate.size / s.tests.aggregate.mean;
                sums.1 += 1.0;
                // Independent rows have hundreds of freedoms: 1 up to sampling.
                let few = matches!(kind, "low rank" | "one-signed rows" | "outlier columns");
                let range = if few { 0.0..f64::INFINITY } else { 0.9..1.1 };
                assert!(range.contains(&s.ratio_e), "{kind}, {activation}: {}", s.ratio_e);
                if activation == "dead zone" {
                    // Errors below half a step are smaller than uniform ones: tier U is conservative.
                    assert!(s.ratio_u < 0.9, "{kind}, {activation}: {}", s.ratio_u);
                } else if !matches!(activation, "sparse" | "lattice" | "one channel x100") {
                    assert!(range.contains(&s.ratio_u), "{kind}, {activation}: {}", s.ratio_u);
                }
            }
        }
    }
    let (low, high) = worst.iter().fold((f64::MAX, 0.0f64), |(l, h), (_, e, _)| (l.min(*e), h.max(*e)));
    println!(
        "{cases} cases at a false-alarm chance of {ALPHA} each: {raw} beyond a threshold, {convicted} convicted (of all kinds); 95 % \
         interval up to {:.3}; {drawn} by random signs; std ratio {low:.3} to {high:.3}",
        upper(raw, cases)
    );
    for (kind, (sum, n)) in pooled {
        let ratio = (sum / n).sqrt();
        println!("{kind}: std ratio {ratio:.3} over {n} cases");
        // Measured elsewhere with 64 tokens: 0.98 to 1.02 for independent rows, 0.80 to 1.08 for rows of one sign.
        assert!((0.8..1.15).contains(&ratio), "{kind}: {ratio}");
    }
    assert!(cases >= 100 && drawn > 0);
    // Within the stated chance: at 5 % of 135 cases, 12 or more has a probability of 4 %; the measured count is far below.
    assert!(raw as f64 <= ALPHA * cases as f64, "{raw} of {cases}");
    assert_eq!(convicted, 0);
}

fn finding(s: &Statistical) -> Finding {
    match s.verdict() {
        Verdict::Unexplained { finding } => *finding,
        other => panic!("{other:?}: {s:?}"),
    }
}

fn usual(seed: u64) -> (Vec<u8>, Tensor<f32>) {
    let mut random = Random(SplitMix64::new(seed));
    (packed(&weights("gauss", &mut random)), activations("gauss", &mut random))
}

#[test]
fn a_gain_a_missing_bias_and_a_wrong_scale_are_named_each() {
    let (bytes, x) = usual(5);
    let s = judge(&bytes, &x, 1e-6, |_, _| {});
    let Verdict::Explained { evidence: Evidence::Statistical { least_gain, least_offset } } = s.verdict() else {
        panic!("{:?}", s.verdict())
    };
    assert!(least_gain > 0.0 && least_gain < 0.01 && least_offset > 0.0 && least_offset < 0.05, "{s:?}");
    let found = finding(&judge(&bytes, &x, 1e-6, |_, y| y.data_mut().iter_mut().for_each(|y| *y *= 1.01)));
    let contrast = found.contrast.unwrap();
    assert_eq!(contrast.kind, ContrastKind::Gain);
    assert!((contrast.size - 0.01).abs() < 0.002, "{contrast:?}");
    let found = finding(&judge(&bytes, &x, 1e-6, |_, y| (0..TOKENS).for_each(|t| y.row_mut(t)[17] += 8.0)));
    assert_eq!(found.contrast.map(|c| c.kind), Some(ContrastKind::Bias));
    let found = finding(&judge(&bytes, &x, 1e-6, |w, y| {
        let block = &w.row(40)[210..];
        let parts = anatomy::of(TensorType::Q6K, block).unwrap();
        let mut read = vec![0.0; COLS];
        for t in 0..TOKENS {
            linear::read(Reading::Q8K, x.row(t), &mut read);
            let codes = parts.codes[48..64].iter().zip(&read[256 + 48..]);
            let unit = parts.d * codes.map(|(c, x)| f64::from(*c) * x).sum::<f64>();
            y.row_mut(t)[40] += (24.0 * unit) as f32;
        }
    }));
    let part = found.part.unwrap();
    assert_eq!((found.row, part.block, part.group, part.what.as_str()), (40, 1, 3, "scale"));
    assert!((part.units - 24).abs() <= 3, "{part:?}");
}

#[test]
fn the_minimal_effect_that_is_stated_is_found_four_times_in_five() {
    let (mut found, runs) = (0, 60);
    for seed in 0..runs {
        let (bytes, x) = usual(1000 + seed);
        let least = judge(&bytes, &x, 1e-3, |_, _| {}).least_gain;
        let s = judge(&bytes, &x, 1e-3, |_, y| y.data_mut().iter_mut().for_each(|y| *y *= 1.0 + least as f32));
        found += usize::from(s.tests.gain.over > 1.0);
    }
    println!("{found} of {runs} gains of the stated size found");
    // Binomial(60, 0.8): mean 48, 3.1 standard deviations either way.
    assert!((38..=58).contains(&found), "{found} of {runs}");
}

#[test]
fn repeated_activations_are_evidence_once() {
    let (bytes, x) = usual(9);
    let once = judge(&bytes, &x, 1e-3, |_, _| {});
    let rows = [0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 0];
    let repeated = Tensor::new(rows.len(), COLS, rows.iter().flat_map(|t| x.row(*t).iter().copied()).collect());
    let again = judge(&bytes, &repeated, 1e-3, |_, _| {});
    let numbers = |s: &Statistical| {
        (s.judged, s.ratio_e, s.ratio_u, s.tests.p, s.tests.gain.over, s.tests.row.over, s.least_offset)
    };
    assert_eq!(numbers(&again), numbers(&once), "what repeats adds nothing");
    assert_eq!((once.tests.element.position, again.tests.element.position), (Some(2), Some(3)));
    let changed = judge(&bytes, &repeated, 1e-3, |_, y| y.row_mut(8)[11] += 50.0);
    assert_eq!((finding(&changed).position, finding(&changed).row), (8, 11));
}

#[test]
fn what_is_no_number_is_not_judged() {
    let (bytes, x) = usual(7);
    let s = judge(&bytes, &x, 1e-3, |_, y| y.data_mut()[3] = f32::NAN);
    assert!(matches!(s.verdict(), Verdict::Inconclusive { .. }), "{:?}", s.verdict());
    assert_eq!((s.judged, s.not_judged), ((ROWS * TOKENS - 1) as u64, 1));
}
