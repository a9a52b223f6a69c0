//! Faults that replay must find, each at its exact site.

mod planted;

use std::path::{Path as FilePath, PathBuf};

use twinpath_engine::{Model, Numerics, Op, Point, Site, Tensor};
use twinpath_evidence::verdict::{ContrastKind, Evidence};
use twinpath_evidence::{Comparison, Finding, Verdict};
use twinpath_formats::{Matrix, TensorType, Verify};
use twinpath_lab::judge::Replay;
use twinpath_lab::party::Source;
use twinpath_lab::{Arithmetic, CompareOptions, OracleChoice, Party, compare};
use twinpath_paths::{FusedQ8k, Path, Standalone};

use planted::{louder, mistaken, scale_off};

const OPTIONS: CompareOptions = CompareOptions {
    oracle: OracleChoice::Off,
    layers: OracleChoice::Off,
    hash: false,
    replay: Some(1e-3),
    statistical: false,
};
const TOKENS: [u32; 7] = [636, 864, 1548, 1547, 2206, 199, 257];

fn open(path: &str) -> Model {
    let path: PathBuf = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    Model::open(&path, Verify::All).expect("the test models are sound")
}

/// What is done wrongly, as the catalogue names it; a factor of 1.001; or one unit of one scale.
const GAIN: &str = "gain";
const SCALE: &str = "scale";
/// Row, block and group of that scale.
const WHERE: [usize; 3] = [5, 0, 6];

/// A right path against the same model along a path with one fault.
fn faulty(model: &Model, site: Site, fault: &str, tokens: &[u32]) -> Comparison {
    let right = Arithmetic::Path(Box::new(Standalone::new()));
    let (path, at) = (Box::new(FusedQ8k::new()), site.to_string());
    let wrong = Arithmetic::Path(match fault {
        GAIN => louder(path, &at, 1.001),
        SCALE => scale_off(path, &at, WHERE),
        mistake => mistaken(model, path, &format!("{mistake}@{at}")),
    });
    let party = |arithmetic| Party { label: "m".into(), source: Source::Model(model, arithmetic) };
    compare(&party(&right), &party(&wrong), tokens, OPTIONS, &mut |_, _| {}).expect("the tokens fit")
}

/// The one finding, which must be at `site` in B.
fn found(record: &Comparison, site: Site, fault: &str) -> Finding {
    let unexplained: Vec<_> = (record.sites.iter())
        .filter_map(|s| match &s.verdict {
            Some(Verdict::Unexplained { finding }) => Some((s.site.clone(), (**finding).clone())),
            _ => None,
        })
        .collect();
    let sites: Vec<&str> = unexplained.iter().map(|(site, _)| site.as_str()).collect();
    assert_eq!(sites, [site.to_string()], "{fault}");
    assert_eq!(record.judgement.as_ref().and_then(|j| j.first_unexplained.clone()), Some(site.to_string()));
    assert_eq!((record.exit_code(), unexplained[0].1.side.as_str()), (1, "b"));
    unexplained[0].1.clone()
}

/// Points of a layer where each fault can be.
const PLACES: [(&str, &[Point]); 7] = {
    use Point::{AttnNorm, AttnOut, FfnDown, FfnGate, FfnSwiglu, FfnUp, K, KRope, Q, QRope, V};
    [
        ("bias=left out", &[Q, K, V]),
        ("rope-theta", &[QRope, KRope]),
        ("rope-pairing", &[QRope, KRope]),
        ("position-offset", &[QRope, KRope]),
        (GAIN, &[AttnNorm, Q, KRope, AttnOut, FfnSwiglu, FfnDown]),
        ("nibbles", &[Q, K, FfnGate, FfnUp]),
        (SCALE, &[Q, FfnUp]),
    ]
};

#[test]
fn every_fault_is_found_at_its_exact_site_in_every_layer() {
    let model = open("zoo/teacher-q4_k_m.gguf");
    for (fault, points) in PLACES {
        for layer in 0..model.config().layers {
            for point in points {
                let site = Site::block(layer, *point);
                let finding = found(&faulty(&model, site, fault, &TOKENS), site, fault);
                let kind = finding.contrast.as_ref().map(|c| c.kind);
                match fault {
                    GAIN => assert_eq!(kind, Some(ContrastKind::Gain), "{site}"),
                    "bias=left out" => assert_eq!(kind, Some(ContrastKind::Bias), "{site}"),
                    SCALE => {
                        let part = finding.part.unwrap();
                        assert_eq!([finding.row, part.block, part.group], WHERE, "{site}");
                        assert_eq!((part.what.as_str(), part.units.abs(), kind), ("scale", 1, Some(ContrastKind::Row)));
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn ten_times_the_epsilon_is_found_at_every_norm() {
    let model = open("zoo/teacher-q4_k_m.gguf");
    let tokens: Vec<u32> = (0..32).map(|i| i * 97 % 4096).collect();
    let norms = [Point::AttnNorm, Point::FfnNorm];
    let layers = (0..model.config().layers).flat_map(|l| norms.map(|p| Site::block(l, p)));
    for site in layers.chain([Site::outer(Point::FinalNorm)]) {
        let finding = found(&faulty(&model, site, "norm-eps=eps 1e-5", &tokens), site, "norm-eps");
        assert_eq!(finding.contrast.map(|c| c.kind), Some(ContrastKind::Gain), "{site}");
    }
}

#[test]
fn rope_faults_are_found_in_every_family() {
    for folder in ["llama-gqa4", "llama3-rope", "mistral-window", "qwen2-yarn", "qwen3"] {
        let model = open(&format!("testdata/tiny/{folder}/model.gguf"));
        for fault in ["rope-theta", "rope-pairing", "position-offset"] {
            for point in [Point::QRope, Point::KRope] {
                let site = Site::block(1, point);
                found(&faulty(&model, site, fault, &[1, 2, 3, 4]), site, fault);
            }
        }
    }
}

#[test]
fn at_position_0_theta_and_pairing_are_not_exercised() {
    let model = open("zoo/teacher-q4_k_m.gguf");
    for fault in ["rope-theta", "rope-pairing"] {
        let site = Site::block(2, Point::QRope);
        let record = faulty(&model, site, fault, &[636]);
        let judged = record.sites.iter().find(|s| s.site == site.to_string()).unwrap();
        assert!(matches!(judged.verdict, Some(Verdict::NotExercised { .. })), "{fault}: {:?}", judged.verdict);
        assert_eq!(record.exit_code(), 3);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Nearly normal: twelve uniform numbers.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.bits() >> 40) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0
    }
}

/// Random Q4_K rows of about unit weights.
fn q4_k(rows: usize, cols: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..rows * cols / 256 * 144).map(|_| random.bits() as u8).collect();
    for block in bytes.chunks_exact_mut(144) {
        // d = 2^-8, dmin = 7.5 times that: weights around 0.
        block[..4].copy_from_slice(&[0x00, 0x1c, 0x80, 0x27]);
    }
    bytes
}

const REPLAY_SITES: usize = 1000;

fn replay(own: &dyn Path) -> Replay<'_> {
    Replay { own, other: None, alpha: 1e-3, sites: REPLAY_SITES, positions: 1, statistical: false }
}

#[test]
fn one_scale_off_by_one_in_a_row_of_4096_is_named_from_one_token() {
    let (rows, cols, trials) = (16, 4096, 60);
    let mut random = Random(11);
    let site = Site::block(0, Point::FfnUp);
    let (mut named, mut least) = (0, f64::INFINITY);
    for trial in 0..trials {
        let bytes = q4_k(rows, cols, &mut random);
        let weight = Matrix::new(TensorType::Q4K, rows, cols, &bytes).unwrap();
        let x = Tensor::new(1, cols, (0..cols).map(|_| random.normal()).collect());
        let at = (random.bits() as usize % rows, random.bits() as usize % 16, random.bits() as usize % 8);
        let right: Box<dyn Path> = if trial % 2 == 0 { Box::new(FusedQ8k::new()) } else { Box::new(Standalone::new()) };
        let path = scale_off(right, &site.to_string(), [at.0, at.1, at.2]);
        let op = Op::Linear { weight, bias: None };
        let y = path.eval(site, &op, &[&x]);
        let local = replay(path.as_ref()).judge(&op, &[&x], &y, 0).local.finish("b", None);
        let Verdict::Unexplained { finding } = local.verdict else { panic!("{at:?} was not found: {local:?}") };
        assert_eq!((finding.row, finding.convicted), (at.0, 1));
        least = least.min(finding.sigmas);
        let part = finding.part.unwrap();
        named += usize::from((part.block, part.group, part.units.abs()) == (at.1, at.2, 1));
    }
    println!("{named} of {trials} sub-blocks named, smallest residual {least:.0} standard deviations");
    // One scalar residual fits another of 256 parts by chance where that part's effect is nearly the same.
    assert!(named >= trials * 9 / 10, "{named} of {trials}");
}

#[test]
fn an_activation_on_the_edge_between_two_codes_may_go_either_way() {
    let (rows, cols) = (64, 512);
    let mut random = Random(12);
    let bytes = q4_k(rows, cols, &mut random);
    let weight = Matrix::new(TensorType::Q4K, rows, cols, &bytes).unwrap();
    let op = Op::Linear { weight, bias: None };
    let site = Site::block(0, Point::Q);
    let path = FusedQ8k::new();
    let mut x = Tensor::new(1, cols, (0..cols).map(|_| random.normal().clamp(-3.9, 3.9)).collect());
    // The block's scale is 4 / 127: 20.5 steps, a hair below or above.
    let mut above = x.clone();
    for (x, value) in [(&mut x, 20.499_99), (&mut above, 20.500_01f32)] {
        x.data_mut()[256] = 4.0;
        x.data_mut()[300] = value * 4.0 / 127.0;
    }
    let y = path.eval(site, &op, &[&above]);
    assert_ne!(y, path.eval(site, &op, &[&x]), "the code did not change");
    let local = replay(&path).judge(&op, &[&x], &y, 0).local.finish("b", None);
    assert_eq!(local.verdict, Verdict::Explained { evidence: Evidence::Flips { count: 1 } });
    // What is no flip stays: the same value with one row off by a thousandth.
    let mut off = y.clone();
    off.data_mut()[7] *= 1.001;
    let local = replay(&path).judge(&op, &[&x], &off, 0).local.finish("b", None);
    let Verdict::Unexplained { finding } = local.verdict else { panic!("{local:?}") };
    assert_eq!((finding.row, finding.rows), (7, 1));
}
