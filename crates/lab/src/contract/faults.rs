//! Deliberate faults: what a sound measurement must notice. Never part of a path that anybody runs by name.

use std::sync::atomic::{AtomicUsize, Ordering};

use twinpath_engine::op::Mask;
use twinpath_engine::{Numerics, Op, Pairing, Point, Rope, Site, Tensor};
use twinpath_evidence::{Comparison, Positions};
use twinpath_formats::TensorType;
use twinpath_paths::simd::{Isa, Level};
use twinpath_paths::{Path, Reading};

/// A fault.
pub struct Fault {
    /// Its name in contracts and on the command line.
    pub name: &'static str,
    /// What goes wrong.
    pub what: &'static str,
    how: How,
}

/// Evaluates an op wrongly; `None` leaves it to the right arithmetic.
type FaultyOp = fn(&Planted, Site, &Op<'_>, &[&Tensor<f32>]) -> Option<Tensor<f32>>;

/// Where a fault acts.
enum How {
    /// In the arithmetic: the faulty value, or none where the op is not affected.
    Op(FaultyOp),
    /// In the record of a comparison.
    Record(fn(&mut Comparison)),
    /// In stored bytes.
    Bit,
    /// In what looks at the values.
    Observer,
}

/// How often a path with the fault `dice` has evaluated a linear op.
static ROLLED: AtomicUsize = AtomicUsize::new(0);

/// Every fault.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "rope-frequency",
        what: "every RoPE frequency is one tenth too high",
        how: How::Op(|p, site, op, x| match op {
            Op::Rope { rope, heads, start } => {
                let frequencies = rope.frequencies.iter().map(|f| f * 1.1).collect();
                let rope = Rope { frequencies, ..(*rope).clone() };
                Some(p.inner.eval(site, &Op::Rope { rope: &rope, heads: *heads, start: *start }, x))
            }
            _ => None,
        }),
    },
    Fault {
        name: "rope-pairing",
        what: "RoPE turns the other pairs: adjacent for half-split, and the reverse",
        how: How::Op(|p, site, op, x| match op {
            Op::Rope { rope, heads, start } => {
                let pairing = match rope.pairing {
                    Pairing::Adjacent => Pairing::HalfSplit,
                    Pairing::HalfSplit => Pairing::Adjacent,
                };
                let rope = Rope { pairing, ..(*rope).clone() };
                Some(p.inner.eval(site, &Op::Rope { rope: &rope, heads: *heads, start: *start }, x))
            }
            _ => None,
        }),
    },
    Fault {
        name: "no-bias",
        what: "biases are left out",
        how: How::Op(|p, site, op, x| match op {
            Op::Linear { weight, bias: Some(_) } => {
                Some(p.inner.eval(site, &Op::Linear { weight: *weight, bias: None }, x))
            }
            _ => None,
        }),
    },
    Fault {
        name: "short-sight",
        what: "each token attends to itself only",
        how: How::Op(|p, site, op, x| match op {
            Op::Softmax { heads, mask } => {
                let mask = Mask { window: Some(1), ..*mask };
                Some(p.inner.eval(site, &Op::Softmax { heads: *heads, mask }, x))
            }
            _ => None,
        }),
    },
    Fault {
        name: "no-silu",
        what: "the activation of the gate is left out",
        how: How::Op(|_, _, op, x| matches!(op, Op::Silu).then(|| x[0].clone())),
    },
    Fault {
        name: "4-bit-activations",
        what: "inputs of linear ops are rounded to 15 levels a row",
        how: How::Op(|p, site, op, x| {
            let Op::Linear { .. } = op else { return None };
            let mut coarse = x[0].clone();
            for t in 0..coarse.rows() {
                let row = coarse.row_mut(t);
                let step = row.iter().fold(0f32, |m, x| m.max(x.abs())) / 7.0;
                if step > 0.0 {
                    row.iter_mut().for_each(|x| *x = (*x / step).round() * step);
                }
            }
            Some(p.inner.eval(site, op, &[&coarse]))
        }),
    },
    Fault {
        name: "ffn-down-gain",
        what: "outputs of ffn_down are half as large again",
        how: How::Op(|p, site, op, x| {
            let mut y = (site.point == Point::FfnDown).then(|| p.inner.eval(site, op, x))?;
            (0..y.rows()).for_each(|t| y.row_mut(t).iter_mut().for_each(|y| *y *= 1.5));
            Some(y)
        }),
    },
    Fault {
        name: "one-ulp",
        what: "the first value of each embedding and each linear output is the next larger float",
        how: How::Op(|p, site, op, x| nudged(p, site, op, x, 1)),
    },
    Fault {
        name: "conditions",
        what: "bits depend on the number of threads, the length of the call and the instruction set",
        how: How::Op(|p, site, op, x| {
            let rows = x.first().map_or(0, |x| x.rows());
            let level = match p.isa.level() {
                Level::Portable => 0,
                Level::Avx2 => 1,
                _ => 2,
            };
            nudged(p, site, op, x, rayon::current_num_threads() + 3 * rows + 5 * level)
        }),
    },
    Fault {
        name: "dice",
        what: "bits depend on what was computed before",
        how: How::Op(|p, site, op, x| nudged(p, site, op, x, 1 + ROLLED.fetch_add(1, Ordering::Relaxed))),
    },
    Fault {
        name: "twenty-times",
        what: "each linear op is computed twenty times",
        how: How::Op(|p, site, op, x| {
            let Op::Linear { .. } = op else { return None };
            (0..20).map(|_| p.inner.eval(site, op, x)).last()
        }),
    },
    Fault {
        name: "meddling-observer",
        what: "looking at a value moves its first element by one float",
        how: How::Observer,
    },
    Fault {
        name: "last-position-statistics",
        what: "statistics of side B are those of the last position only",
        how: How::Record(|record| {
            for site in &mut record.sites {
                let all = site.b.scope.positions;
                site.b.scope.positions = Positions::new(all.first + all.count.saturating_sub(1), 1);
                site.b.count /= (all.count as u64).max(1);
            }
        }),
    },
    Fault { name: "one-bit", what: "one bit of one stored block is flipped", how: How::Bit },
];

/// The value with its first element moved up by `n` floats, for embeddings and linear ops.
fn nudged(p: &Planted, site: Site, op: &Op<'_>, x: &[&Tensor<f32>], n: usize) -> Option<Tensor<f32>> {
    if !matches!(op, Op::Embed { .. } | Op::Linear { .. }) {
        return None;
    }
    let mut y = p.inner.eval(site, op, x);
    for t in 0..y.rows() {
        if let Some(first) = y.row_mut(t).first_mut() {
            (0..n).for_each(|_| *first = first.next_up());
        }
    }
    Some(y)
}

impl Fault {
    /// The fault of this name.
    pub fn find(name: &str) -> Option<&'static Fault> {
        FAULTS.iter().find(|f| f.name == name)
    }

    /// A path with the fault in it, and the path as it is where the fault is not one of arithmetic.
    pub fn plant(&'static self, inner: Box<dyn Path>, isa: Isa) -> Box<dyn Path> {
        match self.how {
            How::Op(_) => Box::new(Planted { inner, isa, fault: self }),
            How::Record(_) | How::Bit | How::Observer => inner,
        }
    }

    /// Puts the fault into the record of a comparison, if that is where it acts.
    pub fn distort(&self, record: &mut Comparison) {
        if let How::Record(distort) = self.how {
            distort(record);
        }
    }

    /// Whether looking changes what is looked at.
    pub fn meddles(&self) -> bool {
        matches!(self.how, How::Observer)
    }

    /// Whether it flips a stored bit.
    pub fn flips(&self) -> bool {
        matches!(self.how, How::Bit)
    }
}

/// A path with a fault in it.
struct Planted {
    inner: Box<dyn Path>,
    isa: Isa,
    fault: &'static Fault,
}

impl Numerics for Planted {
    type Elem = f32;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let faulty = match self.fault.how {
            How::Op(eval) => eval(self, site, op, inputs),
            How::Record(_) | How::Bit | How::Observer => None,
        };
        faulty.unwrap_or_else(|| self.inner.eval(site, op, inputs))
    }
}

impl Path for Planted {
    fn describe(&self) -> &'static str {
        self.fault.what
    }

    fn kernels(&self) -> String {
        format!("{} with the fault {}", self.inner.kernels(), self.fault.name)
    }

    fn reading(&self, weights: TensorType) -> Reading {
        self.inner.reading(weights)
    }

    fn for_row(&self, site: Site, op: &Op<'_>, x: &[f32]) -> Option<&dyn Path> {
        self.inner.for_row(site, op, x)
    }
}
