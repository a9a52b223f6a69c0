//! A policy as a path: for each value, the path that the first fitting rule names.

use std::ops::Range;
use std::sync::Arc;

use twinpath_engine::site::POINTS;
use twinpath_engine::{Numerics, Op, Point, Site, Tensor};
use twinpath_evidence::massive::{BLOCK, is_sole};
use twinpath_evidence::{Policy, policy};
use twinpath_formats::TensorType;
use twinpath_formats::quant::FORMATS;
use twinpath_paths::simd::Isa;
use twinpath_paths::{PATHS, Path, Reading, Tiles};

/// Kinds of op, as rules name them.
const OPS: &[&str] = &["embed", "linear", "norm", "rope", "scores", "softmax", "mix", "silu", "multiply", "add"];

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: there is no {what} `{name}`; there are {known}")]
pub struct BadRule {
    rule: usize,
    what: &'static str,
    name: String,
    known: String,
}

/// A policy, ready to run.
pub struct Policed {
    name: &'static str,
    why: String,
    rules: Vec<Rule>,
}

/// A rule with its names found.
struct Rule {
    ops: Vec<String>,
    points: Vec<Point>,
    layers: Vec<usize>,
    weights: Vec<TensorType>,
    massive: bool,
    path: Box<dyn Path>,
}

impl Rule {
    /// `x` is the position's input, where the op is linear.
    fn fits(&self, site: Site, op: &Op<'_>, x: Option<&[f32]>) -> bool {
        let weights = match op {
            Op::Linear { weight, .. } | Op::Embed { table: weight, .. } => Some(weight.tensor_type()),
            _ => None,
        };
        (self.ops.is_empty() || self.ops.iter().any(|name| name == kind(op)))
            && (self.points.is_empty() || self.points.contains(&site.point))
            && (self.layers.is_empty() || site.layer.is_some_and(|layer| self.layers.contains(&layer)))
            && (self.weights.is_empty() || weights.is_some_and(|w| self.weights.contains(&w)))
            && (!self.massive || x.is_some_and(is_massive))
    }
}

/// Whether one element sets the scale of a block of 256 alone.
fn is_massive(x: &[f32]) -> bool {
    x.chunks(BLOCK).any(|block| is_sole(block.iter().map(|x| f64::from(*x))))
}

fn kind(op: &Op<'_>) -> &'static str {
    match op {
        Op::Embed { .. } => "embed",
        Op::Linear { .. } => "linear",
        Op::Norm { .. } => "norm",
        Op::Rope { .. } => "rope",
        Op::Scores { .. } => "scores",
        Op::Softmax { .. } => "softmax",
        Op::Mix { .. } => "mix",
        Op::Silu => "silu",
        Op::Multiply => "multiply",
        Op::Add => "add",
    }
}

impl Policed {
    /// Makes the path of a policy, on kernels of one instruction set.
    ///
    /// # Errors
    /// When a rule names a path, op, point or format that there is not.
    pub fn new(name: &'static str, policy: &Policy, isa: Isa) -> Result<Policed, BadRule> {
        let rules = policy.rules.iter().enumerate().map(|(i, rule)| found(i + 1, rule, isa));
        Ok(Policed { name, why: policy.why.clone(), rules: rules.collect::<Result<_, _>>()? })
    }

    /// What it does, and what for.
    pub fn why(&self) -> &str {
        &self.why
    }

    fn choose(&self, site: Site, op: &Op<'_>, x: Option<&[f32]>) -> usize {
        let fits = |rule: &Rule| rule.fits(site, op, x);
        self.rules.iter().position(fits).unwrap_or_else(|| unreachable!("the last rule fits everything"))
    }

    /// Rows of one path each, in order.
    fn runs(&self, site: Site, op: &Op<'_>, x: &Tensor<f32>) -> Vec<(Range<usize>, usize)> {
        let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
        for t in 0..x.rows() {
            let rule = self.choose(site, op, Some(x.row(t)));
            match runs.last_mut() {
                Some((rows, last)) if *last == rule => rows.end = t + 1,
                _ => runs.push((t..t + 1, rule)),
            }
        }
        runs
    }
}

fn found(number: usize, rule: &policy::Rule, isa: Isa) -> Result<Rule, BadRule> {
    let missing = |what, name: &str, known: Vec<&str>| BadRule {
        rule: number,
        what,
        name: name.to_owned(),
        known: known.join(", "),
    };
    let path = PATHS.iter().find(|p| p.name == rule.path);
    let path = path.ok_or_else(|| missing("path", &rule.path, PATHS.iter().map(|p| p.name).collect()))?;
    if let Some(op) = rule.ops.iter().find(|op| !OPS.contains(&op.as_str())) {
        return Err(missing("op", op, OPS.to_vec()));
    }
    let point = |name: &String| {
        let found = POINTS.iter().copied().find(|p| p.name() == name);
        found.ok_or_else(|| missing("point", name, POINTS.iter().map(|p| p.name()).collect()))
    };
    let format = |name: &String| {
        let found = FORMATS.iter().find(|f| f.name() == name).map(|f| f.tensor_type());
        found.ok_or_else(|| missing("block format", name, FORMATS.iter().map(|f| f.name()).collect()))
    };
    Ok(Rule {
        ops: rule.ops.clone(),
        points: rule.points.iter().map(point).collect::<Result<_, _>>()?,
        layers: rule.layers.clone(),
        weights: rule.weights.iter().map(format).collect::<Result<_, _>>()?,
        massive: rule.massive,
        path: (path.new)(isa),
    })
}

impl Numerics for Policed {
    type Elem = f32;

    fn name(&self) -> &'static str {
        self.name
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let (Op::Linear { weight, .. }, [x]) = (op, inputs) else {
            return self.rules[self.choose(site, op, None)].path.eval(site, op, inputs);
        };
        let runs = self.runs(site, op, x);
        if let [(_, rule)] = runs[..] {
            return self.rules[rule].path.eval(site, op, inputs);
        }
        let mut all = Tensor::zeros(0, weight.rows());
        for (rows, rule) in runs {
            all.append(&self.rules[rule].path.eval(site, op, &[&x.rows_of(rows)]));
        }
        all
    }
}

impl Path for Policed {
    fn describe(&self) -> &'static str {
        "For each value, the path that the first fitting rule of a policy names."
    }

    fn adopt(&mut self, tiles: &Arc<Tiles>) {
        self.rules.iter_mut().for_each(|rule| rule.path.adopt(tiles));
    }

    fn kernels(&self) -> String {
        let mut names: Vec<String> = self.rules.iter().map(|r| r.path.kernels()).collect();
        names.dedup();
        names.join("; ")
    }

    fn reading(&self, weights: TensorType) -> Reading {
        self.rules.last().map_or(Reading::Plain, |rule| rule.path.reading(weights))
    }

    fn for_row(&self, site: Site, op: &Op<'_>, x: &[f32]) -> Option<&dyn Path> {
        Some(self.rules[self.choose(site, op, Some(x))].path.as_ref())
    }
}
