//! One path again and again, under conditions that must not matter.

use twinpath_engine::{Elem, Model, NoProbe, Numerics, Op, Probe, Rows, Session, Site, Tensor};
use twinpath_evidence::contract::claim::Condition;
use twinpath_paths::Path;
use twinpath_paths::simd::Isa;

use super::faults::Fault;
use crate::error::LabError;
use crate::side::Arithmetic;
use crate::spec::PathName;

/// One way of running a prompt.
#[derive(Clone)]
struct Way {
    isa: Isa,
    threads: usize,
    calls: Vec<usize>,
    observed: bool,
}

/// Looks at every value, and copies it as a recording does.
#[derive(Default)]
struct Observer {
    seen: f64,
    meddles: bool,
}

impl<E: Elem> Probe<E> for Observer {
    fn see(&mut self, _: Site, _: &Op<'_>, _: &[&Tensor<E>], value: &mut Tensor<E>) {
        let copy = value.clone();
        self.seen += copy.data().first().map_or(0.0, |x| x.to_f64());
        if let (true, Some(first)) = (self.meddles && value.rows() > 0, value.row_mut(0).first_mut()) {
            *first = E::from_f64(f64::from((first.to_f64() as f32).next_up()));
        }
    }
}

/// Logits whose bits are not those of the first run in any of the others: how many, of how many compared. A logit counts
/// once, because how many ways there are depends on the machine.
pub(super) fn differing(
    model: &Model,
    path: PathName,
    tokens: &[u32],
    over: &[Condition],
    fault: Option<&'static Fault>,
) -> Result<(u64, u64), LabError> {
    let n = tokens.len();
    let first = Way { isa: Isa::detect(), threads: 1, calls: vec![n], observed: false };
    let mut ways = Vec::new();
    for condition in over {
        match condition {
            Condition::Again => ways.push(first.clone()),
            Condition::Observed => ways.push(Way { observed: true, ..first.clone() }),
            Condition::Threads => ways.extend([2, 3].map(|threads| Way { threads, ..first.clone() })),
            Condition::Calls => {
                let uneven = n.div_ceil(3);
                ways.extend(
                    [vec![1; n], vec![1, n - 1], vec![uneven, n - uneven]].map(|calls| Way { calls, ..first.clone() }),
                );
            }
            Condition::InstructionSets => {
                ways.extend(Isa::all_available().into_iter().map(|isa| Way { isa, ..first.clone() }));
            }
        }
    }
    let reference = run(model, path, tokens, &first, fault)?;
    let mut differs = vec![false; reference.len()];
    let mut compared = reference.len();
    for way in &ways {
        let again = run(model, path, tokens, way, fault)?;
        differs.iter_mut().zip(reference.iter().zip(&again)).for_each(|(differs, (a, b))| *differs |= a != b);
        compared = compared.min(again.len());
    }
    if ways.is_empty() {
        compared = 0;
    }
    Ok((differs.into_iter().filter(|d| *d).count() as u64, compared as u64))
}

fn run(
    model: &Model,
    path: PathName,
    tokens: &[u32],
    way: &Way,
    fault: Option<&'static Fault>,
) -> Result<Vec<u64>, LabError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(way.threads).build();
    let pool = pool.map_err(|e| LabError::Threads { why: e.to_string() })?;
    let meddles = fault.is_some_and(Fault::meddles);
    pool.install(|| match Arithmetic::new(path, way.isa) {
        Arithmetic::Oracle(oracle) => logits(model, &oracle, tokens, way, meddles),
        Arithmetic::Path(path) => logits(model, planted(path, way.isa, fault).as_ref(), tokens, way, meddles),
    })
}

/// A path, with a fault in it if there is one.
pub(super) fn planted(path: Box<dyn Path>, isa: Isa, fault: Option<&'static Fault>) -> Box<dyn Path> {
    match fault {
        Some(fault) => fault.plant(path, isa),
        None => path,
    }
}

fn logits<N: Numerics + ?Sized>(
    model: &Model,
    numerics: &N,
    tokens: &[u32],
    way: &Way,
    meddles: bool,
) -> Result<Vec<u64>, LabError> {
    let mut session = Session::new(model, numerics);
    let (mut bits, mut rest) = (Vec::new(), tokens);
    let mut observer = Observer { seen: 0.0, meddles };
    for n in way.calls.iter().filter(|n| **n > 0) {
        let (call, after) = rest.split_at(*n);
        rest = after;
        let logits = match way.observed {
            true => session.forward(call, Rows::All, &mut observer)?,
            false => session.forward(call, Rows::All, &mut NoProbe)?,
        };
        bits.extend(logits.data().iter().map(|x| x.to_f64().to_bits()));
    }
    Ok(bits)
}
