//! Calibration of the wild-sign null on the bundled model.

use std::path::{Path, PathBuf};

use twinpath_engine::{Model, load};
use twinpath_formats::Verify;
use twinpath_lab::null::null_test;
use twinpath_paths::simd::Isa;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

const PROMPTS: usize = 40;
const REPLICATES: usize = 19;

/// With 19 replicates, a site's upper p-value is 1/20 with probability 5 % under the null, and so is the family's. Over 40
/// prompts that count is Binomial(40, 0.05): 8 or more has probability 0.0007.
const MOST_FALSE_POSITIVES: usize = 7;

#[test]
fn observed_drift_is_what_random_rounding_signs_predict() {
    let model = Model::open(&repo("zoo/teacher-q4_k_m.gguf"), Verify::All).unwrap();
    let tokenizer = load::tokenizer(model.file(), model.path()).unwrap().unwrap();
    let text = std::fs::read_to_string(repo("zoo/MODEL_CARD.md")).unwrap();
    let tokens = tokenizer.encode(&text, true).unwrap();
    assert!(tokens.len() >= PROMPTS * 24, "only {} tokens", tokens.len());
    let (mut log_ratio, mut large, mut small, mut family) = (0.0, 0, 0, 0);
    for (i, prompt) in tokens.chunks_exact(24).take(PROMPTS).enumerate() {
        let test = null_test(&model, prompt, REPLICATES, i as u64, Isa::detect(), &mut |_, _| {}).unwrap().unwrap();
        let logits = test.sites.last().unwrap();
        assert_eq!(logits.site, "logits");
        log_ratio += (logits.observed / logits.predicted).ln() / PROMPTS as f64;
        large += usize::from(logits.p_large <= 0.05);
        small += usize::from(logits.p_small <= 0.05);
        family += usize::from(test.p <= 0.05);
    }
    let ratio = log_ratio.exp();
    println!(
        "observed / predicted at the logits: {ratio:.3}; false positives at 5 %: {large} up, {small} down, {family} family of {PROMPTS}"
    );
    // Published calibration of this scheme: 0.97 to 1.03; 10 % off would make the p-values worthless.
    assert!((0.9..=1.1).contains(&ratio), "{ratio}");
    assert!(large.max(small).max(family) <= MOST_FALSE_POSITIVES, "{large} up, {small} down, {family} family");
}

#[test]
fn a_model_without_coded_activations_has_no_drift_to_judge() {
    let model = Model::open(&repo("testdata/tiny/qwen3/model.gguf"), Verify::All).unwrap();
    let test = null_test(&model, &[1, 2, 3], 3, 0, Isa::detect(), &mut |_, _| {}).unwrap();
    assert_eq!(test, None);
}
