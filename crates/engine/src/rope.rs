//! Frequencies of rotary position embedding, with the scalings that current model files ask for.
//!
//! Su et al. 2021 (RoPE); linear interpolation, Chen et al. 2023; YaRN, Peng et al. 2023; Llama-3's banded scaling as
//! published with Llama 3.1. Everything is evaluated in f64 from the definitions.

use std::f64::consts::PI;

/// How a model file stretches the base frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// As trained.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// Stretch of the context.
        factor: f64,
    },
    /// Wavelengths above `original / low` are stretched by `factor`, those below `original / high` are kept, the band
    /// between is blended.
    Llama3 {
        /// Stretch of the context.
        factor: f64,
        /// `low_freq_factor`.
        low: f64,
        /// `high_freq_factor`.
        high: f64,
        /// Context length before scaling.
        original: f64,
    },
    /// Dimensions that turn often are kept, those that turn seldom are stretched by `factor`, a ramp between.
    Yarn {
        /// Stretch of the context.
        factor: f64,
        /// Context length before scaling.
        original: f64,
        /// Turns above which a dimension is kept (32).
        beta_fast: f64,
        /// Turns below which a dimension is stretched (1).
        beta_slow: f64,
        /// Factor on cos and sin; `None`: `0.1 ln(factor) + 1`.
        attention_factor: Option<f64>,
        /// Whether the ramp's ends are rounded outward to whole dimensions.
        truncate: bool,
    },
    /// Each frequency divided by a factor stored with the weights (`rope_freqs.weight`).
    Factors(Vec<f64>),
}

/// Radians per position of each of the `dim / 2` pairs: `theta^(-2i/dim)`, scaled.
pub fn frequencies(dim: usize, theta: f64, scaling: &Scaling) -> Vec<f64> {
    let base = |i: usize| libm::pow(theta, -2.0 * i as f64 / dim as f64);
    let pairs = 0..dim / 2;
    match scaling {
        Scaling::None => pairs.map(base).collect(),
        Scaling::Linear { factor } => pairs.map(|i| base(i) / factor).collect(),
        Scaling::Factors(factors) => pairs.map(|i| base(i) / factors[i]).collect(),
        Scaling::Llama3 { factor, low, high, original } => pairs
            .map(|i| {
                let f = base(i);
                let turns = original * f / (2.0 * PI);
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * f / factor + kept * f
            })
            .collect(),
        Scaling::Yarn { factor, original, beta_fast, beta_slow, truncate, .. } => {
            // The dimension that makes `turns` full turns over the original context.
            let dimension =
                |turns: f64| dim as f64 * libm::log(original / (turns * 2.0 * PI)) / (2.0 * libm::log(theta));
            let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
            if *truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
            if low == high {
                high += 0.001; // the published code's guard against an empty ramp
            }
            pairs
                .map(|i| {
                    let stretched = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    base(i) / factor * stretched + base(i) * (1.0 - stretched)
                })
                .collect()
        }
    }
}

/// Factor on cos and sin.
pub fn magnitude(scaling: &Scaling) -> f64 {
    match scaling {
        Scaling::Yarn { attention_factor: Some(factor), .. } => *factor,
        Scaling::Yarn { factor, .. } if *factor > 1.0 => 0.1 * libm::log(*factor) + 1.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_powers_of_theta() {
        let f = frequencies(8, 10_000.0, &Scaling::None);
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (f, e) in f.iter().zip(expected) {
            // libm::pow is within 1 ULP, and so is the decimal constant.
            assert!((f - e).abs() <= 2.0 * f64::EPSILON * e, "{f} is not {e}");
        }
    }

    #[test]
    fn scalings_touch_only_their_band() {
        let plain = frequencies(64, 1e4, &Scaling::None);
        let llama = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 32.0 };
        let yarn = Scaling::Yarn {
            factor: 4.0,
            original: 32.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            attention_factor: None,
            truncate: true,
        };
        let llama = frequencies(64, 1e4, &llama);
        assert_eq!(llama[0], plain[0]);
        assert_eq!(llama[31], plain[31] / 8.0);
        assert!(llama.windows(2).all(|w| w[0] > w[1]));
        let y = frequencies(64, 1e4, &yarn);
        assert_eq!((y[0], y[31]), (plain[0], plain[31] / 4.0));
        assert!(magnitude(&yarn) > 1.13 && magnitude(&yarn) < 1.14);
    }
}
