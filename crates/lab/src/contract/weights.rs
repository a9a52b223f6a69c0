//! Stored weights: decoded along a path against their exact values, and file against file.

use std::collections::BTreeSet;

use rayon::prelude::*;
use twinpath_engine::{Model, Op, Point, Site};
use twinpath_evidence::contract::measured::Measured;
use twinpath_formats::Matrix;
use twinpath_paths::Path;

use super::sites::Reading;

/// Rows that one task decodes.
const ROWS: usize = 256;

/// Weights that are not, along `path`, their exact value rounded once to f32.
pub(super) fn decoded(model: &Model, path: &dyn Path, formats: &[String]) -> Reading {
    let matrices: Vec<(&str, Matrix<'_>)> = model.matrix_names().map(|name| (name, model.matrix(name))).collect();
    let present: BTreeSet<&str> = matrices.iter().map(|(_, m)| m.format().name()).collect();
    if let Some(missing) = formats.iter().find(|f| !present.contains(f.as_str())) {
        let why = format!("the model has no {missing} matrix, only {present:?}");
        return Reading { measured: Measured::Nothing { why }, compared: 0, expected: 1 };
    }
    let wrong = |matrix: &Matrix<'_>| -> (u64, u64) {
        let starts: Vec<usize> = (0..matrix.rows()).step_by(ROWS).collect();
        let counted = starts.into_par_iter().map(|first| rows(path, matrix, first, ROWS.min(matrix.rows() - first)));
        counted.reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    let (mut differing, mut compared, mut worst) = (0, 0, None);
    for (name, matrix) in &matrices {
        let (different, all) = wrong(matrix);
        if different > 0 && worst.is_none() {
            worst = Some((*name).to_owned());
        }
        differing += different;
        compared += all;
    }
    Reading { measured: Measured::value(differing as f64, worst), compared, expected: compared }
}

fn rows(path: &dyn Path, matrix: &Matrix<'_>, first: usize, count: usize) -> (u64, u64) {
    let tokens: Vec<u32> = (first..first + count).map(|row| row as u32).collect();
    let site = Site { layer: None, point: Point::Embed };
    let ours = path.eval(site, &Op::Embed { table: *matrix, tokens: &tokens }, &[]);
    let mut exact = vec![0.0; matrix.cols()];
    let mut different = 0;
    for (t, row) in tokens.iter().enumerate() {
        matrix.decode_row(*row as usize, &mut exact);
        different +=
            ours.row(t).iter().zip(&exact).filter(|(x, e)| x.to_bits() != (**e as f32).to_bits()).count() as u64;
    }
    (different, (count * matrix.cols()) as u64)
}

/// Matrices and vectors of two models that are not the same; with `flip`, after one bit of `b` was changed.
pub(super) fn stored(a: &Model, b: &Model, flip: bool) -> Reading {
    let names: BTreeSet<&str> = a.matrix_names().chain(b.matrix_names()).collect();
    let has = |model: &Model, name: &str| model.matrix_names().any(|n| n == name);
    let (mut different, mut flip, mut first) = (0, flip, None);
    for name in &names {
        let same = has(a, name) && has(b, name) && {
            let (x, y) = (a.matrix(name), b.matrix(name));
            let mut bytes = y.bytes().to_vec();
            if let (true, Some(byte)) = (std::mem::take(&mut flip), bytes.first_mut()) {
                *byte ^= 1;
            }
            (x.tensor_type(), x.rows(), x.cols(), x.bytes()) == (y.tensor_type(), y.rows(), y.cols(), bytes.as_slice())
        };
        if !same {
            different += 1;
            first.get_or_insert_with(|| (*name).to_owned());
        }
    }
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let (va, vb): (Vec<_>, Vec<_>) = (a.vectors().collect(), b.vectors().collect());
    let of = |all: &[(&str, &[f32])], name: &str| all.iter().find(|(n, _)| *n == name).map(|(_, v)| bits(v));
    let vectors: BTreeSet<&str> = va.iter().chain(&vb).map(|(name, _)| *name).collect();
    for name in &vectors {
        let (x, y) = (of(&va, name), of(&vb, name));
        if x.is_none() || x != y {
            different += 1;
            first.get_or_insert_with(|| (*name).to_owned());
        }
    }
    let count = (names.len() + vectors.len()) as u64;
    Reading { measured: Measured::value(f64::from(different), first), compared: count, expected: count }
}
