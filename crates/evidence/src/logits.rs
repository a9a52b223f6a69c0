//! What a drift does to the next-token distribution.

use serde::{Deserialize, Serialize};

/// Next-token distributions of a side against a reference, over positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogitDrift {
    /// Positions compared.
    pub positions: usize,
    /// Mean over positions of KL(reference ‖ side), in nats.
    pub kl_mean: f64,
    /// Median over positions (the mean of the two middle ones for an even count).
    pub kl_median: f64,
    /// Largest, and its position.
    pub kl_max: f64,
    /// Position of the largest.
    pub kl_max_position: usize,
    /// Positions whose most likely token is the same.
    pub top1_equal: usize,
    /// Mean over positions of the share of the reference's five most likely tokens that are among the side's five.
    pub top5_overlap: f64,
    /// The first position whose most likely token differs.
    pub first_flip: Option<Flip>,
    /// Position by position.
    pub by_position: Vec<PositionLogits>,
}

/// One position's next-token distributions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionLogits {
    /// Token position.
    pub position: usize,
    /// KL(reference ‖ side), in nats.
    pub kl: f64,
    /// The reference's logit margin between its two most likely tokens.
    pub reference_margin: f64,
    /// Whether the most likely token is the same.
    pub top1_equal: bool,
}

/// A position where the most likely token differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// Token position.
    pub position: usize,
    /// The reference's most likely token.
    pub reference_token: u32,
    /// The side's.
    pub token: u32,
    /// The reference's logit margin between its two most likely tokens.
    pub reference_margin: f64,
}

/// Accumulates a [`LogitDrift`] position by position.
#[derive(Debug, Clone, Default)]
pub struct LogitSum {
    by_position: Vec<PositionLogits>,
    top5_shared: usize,
    top5_possible: usize,
    first_flip: Option<Flip>,
}

impl LogitSum {
    /// Adds one position; both rows hold one logit per token of the vocabulary.
    pub fn add(&mut self, position: usize, side: &[f64], reference: &[f64]) {
        let (top, side_top) = (top5(reference), top5(side));
        self.top5_possible += top.len();
        self.top5_shared += top.iter().filter(|t| side_top.contains(t)).count();
        let margin = match top[..] {
            [first, second, ..] => reference[first] - reference[second],
            _ => 0.0,
        };
        let (first, side_first) = (top.first(), side_top.first());
        self.by_position.push(PositionLogits {
            position,
            kl: kl_divergence(reference, side),
            reference_margin: margin,
            top1_equal: first == side_first,
        });
        if let (Some(r), Some(s)) = (first, side_first)
            && r != s
            && self.first_flip.is_none()
        {
            self.first_flip =
                Some(Flip { position, reference_token: *r as u32, token: *s as u32, reference_margin: margin });
        }
    }

    /// Joins later positions.
    pub fn merge(&mut self, later: LogitSum) {
        self.by_position.extend(later.by_position);
        self.top5_shared += later.top5_shared;
        self.top5_possible += later.top5_possible;
        self.first_flip = self.first_flip.take().or(later.first_flip);
    }

    /// The drift so far; `None` when nothing was added.
    pub fn finish(&self) -> Option<LogitDrift> {
        let mut sorted: Vec<f64> = self.by_position.iter().map(|p| p.kl).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let largest = self.by_position.iter().max_by(|a, b| a.kl.total_cmp(&b.kl))?;
        Some(LogitDrift {
            positions: n,
            kl_mean: sorted.iter().sum::<f64>() / n as f64,
            kl_median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
            kl_max: largest.kl,
            kl_max_position: largest.position,
            top1_equal: self.by_position.iter().filter(|p| p.top1_equal).count(),
            top5_overlap: self.top5_shared as f64 / self.top5_possible.max(1) as f64,
            first_flip: self.first_flip.clone(),
            by_position: self.by_position.clone(),
        })
    }
}

/// Indices of the five largest values, largest first, ties to the lower index. NaN sorts below every number.
fn top5(row: &[f64]) -> Vec<usize> {
    let key = |i: usize| if row[i].is_nan() { f64::NEG_INFINITY } else { row[i] };
    let mut top: Vec<usize> = Vec::with_capacity(6);
    for (some, first) in row.chunks(64).zip((0..).step_by(64)) {
        // Nearly everywhere none is larger than the fifth.
        if let [.., fifth] = top[..]
            && top.len() == 5
            && !some.iter().fold(false, |any, x| any | (*x > key(fifth)))
        {
            continue;
        }
        for i in first..first + some.len() {
            let at = top.iter().position(|t| key(i) > key(*t)).unwrap_or(top.len());
            if at < 5 {
                top.insert(at, i);
                top.truncate(5);
            }
        }
    }
    top
}

/// KL(p ‖ q) of the softmaxes of two rows of logits, in nats. NaN when a logit is not finite.
pub fn kl_divergence(p: &[f64], q: &[f64]) -> f64 {
    let log_sum = |row: &[f64]| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (max, row.iter().map(|x| (x - max).exp()).sum::<f64>().ln())
    };
    let ((p_max, p_log), (q_max, q_log)) = (log_sum(p), log_sum(q));
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (log_p, log_q) = (p - p_max - p_log, q - q_max - q_log);
        log_p.exp() * (log_p - log_q)
    });
    terms.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kl_of_a_worked_example() {
        // p = (1/2, 1/2), q = (1/4, 3/4): KL = ln(2) - ln(3)/2.
        let kl = kl_divergence(&[0.0, 0.0], &[0.0, 3f64.ln()]);
        // A handful of rounded f64 operations of size 1: far below 1e-14.
        assert!((kl - (2f64.ln() - 3f64.ln() / 2.0)).abs() < 1e-14, "{kl}");
        assert!(kl_divergence(&[f64::NAN, 0.0], &[0.0, 0.0]).is_nan());
    }

    #[test]
    fn flips_name_the_first_position_and_its_margin() {
        let mut sum = LogitSum::default();
        sum.add(0, &[3.0, 1.0, 0.0], &[3.0, 1.0, 0.0]);
        sum.add(1, &[1.0, 2.0, 0.0], &[1.5, 1.25, 0.0]);
        sum.add(2, &[1.0, 2.0, 0.0], &[9.0, 1.0, 0.0]);
        let d = sum.finish().unwrap();
        assert_eq!((d.positions, d.top1_equal, d.top5_overlap, d.kl_max_position), (3, 1, 1.0, 2));
        let flip = Flip { position: 1, reference_token: 0, token: 1, reference_margin: 0.25 };
        assert_eq!(d.first_flip, Some(flip));
        assert!(d.kl_median > 0.0 && d.kl_median < d.kl_max);
    }

    #[test]
    fn top5_prefers_the_lower_index_on_ties_and_ignores_nan() {
        assert_eq!(top5(&[1.0, f64::NAN, 2.0, 2.0, 0.0, -1.0, -2.0]), vec![2, 3, 0, 4, 5]);
        // Rows of several chunks, whose values come again.
        let row: Vec<f64> = (0..1000).map(|i| f64::from(i * 37 % 61)).collect();
        let mut sorted: Vec<usize> = (0..row.len()).collect();
        sorted.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        assert_eq!(top5(&row), sorted[..5]);
        assert_eq!(top5(&[f64::NAN; 130]), vec![0, 1, 2, 3, 4]);
    }

    #[test]
    fn nothing_added_is_no_result() {
        assert_eq!(LogitSum::default().finish(), None);
    }
}
