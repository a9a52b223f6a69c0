//! Random inputs, norms, and intervals by resampling.

use twinpath_engine::Tensor;
use twinpath_engine::rng::SplitMix64;
use twinpath_evidence::experiment::Interval;

/// Below this many samples a bootstrap interval covers too little to be shown.
const FEWEST: usize = 16;
/// Resamplings of a bootstrap.
const RESAMPLINGS: usize = 999;

/// Standard normal values (Box and Muller), the same for the same seed on every machine.
pub(crate) fn gaussian(seed: u64, rows: usize, cols: usize) -> Tensor<f32> {
    let mut random = SplitMix64::new(seed);
    let mut value = || {
        let radius = (-2.0 * libm::log(1.0 - random.next_f64())).sqrt();
        (radius * libm::cos(std::f64::consts::TAU * random.next_f64())) as f32
    };
    Tensor::new(rows, cols, (0..rows * cols).map(|_| value()).collect())
}

/// `‖x‖₂`.
pub(crate) fn norm(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

/// `‖x − y‖₂`.
pub(crate) fn distance(x: &[f32], y: &[f32]) -> f64 {
    let square = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
    x.iter().zip(y).map(square).sum::<f64>().sqrt()
}

/// A statistic of `n` samples, given by their indices, with its 95 % percentile-bootstrap interval; `of` names the samples.
/// Nothing for fewer than 16.
pub(crate) fn bootstrap(n: usize, of: &str, statistic: impl Fn(&[usize]) -> f64) -> Option<Interval> {
    if n < FEWEST {
        return None;
    }
    let estimate = statistic(&(0..n).collect::<Vec<_>>());
    let mut random = SplitMix64::new(n as u64);
    let mut drawn: Vec<f64> = (0..RESAMPLINGS)
        .map(|_| statistic(&(0..n).map(|_| (random.next_u64() % n as u64) as usize).collect::<Vec<_>>()))
        .collect();
    drawn.sort_by(f64::total_cmp);
    let (low, high) = (drawn[RESAMPLINGS / 40], drawn[RESAMPLINGS - 1 - RESAMPLINGS / 40]);
    let how = format!("95 % bootstrap over {n} {of}");
    Some(Interval { low: low.min(estimate), estimate, high: high.max(estimate), how })
}

/// The values at 5, 50 and 95 % of the sorted sample.
pub(crate) fn quantiles(mut x: Vec<f64>) -> [f64; 3] {
    x.sort_by(f64::total_cmp);
    [0.05, 0.5, 0.95].map(|p| x.get(((x.len().max(1) - 1) as f64 * p).round() as usize).copied().unwrap_or(f64::NAN))
}

/// Standard deviation about the mean of all values, divisor n.
pub(crate) fn deviation(x: &[f32]) -> f64 {
    let n = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    (x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// `|std b / std a − 1|` over the centred relative drift of the same entries, which bounds it (triangle inequality).
/// Nothing where the entries are equal.
pub(crate) fn deviation_quotient(a: &[f32], b: &[f32]) -> Option<f64> {
    let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    let (drift, std_a) = (deviation(&difference), deviation(a));
    (drift > 0.0 && std_a > 0.0).then(|| (deviation(b) / std_a - 1.0).abs() / (drift / std_a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_has_the_width_of_its_standard_error() {
        let x = gaussian(3, 1, 400);
        let mean = |i: &[usize]| i.iter().map(|i| f64::from(x.data()[*i])).sum::<f64>() / i.len() as f64;
        let found = bootstrap(400, "values", mean).unwrap();
        // 1.96 / sqrt(400) = 0.098; a bootstrap of 999 draws knows its ends to a few percent.
        assert!((0.08..0.12).contains(&((found.high - found.low) / 2.0)), "{found:?}");
        assert!(found.low < 0.0 && found.high > 0.0, "{found:?}");
        assert_eq!(bootstrap(15, "values", mean), None);
    }
}
