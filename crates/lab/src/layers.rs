//! A third run: every layer of A on what went into B's, for the split of the drift layer by layer.

use twinpath_engine::{Elem, NoProbe, Numerics, Point, Session, Site, Tensor};
use twinpath_evidence::layers::{LayerSplit, LayerSum};

use crate::party::{Party, Source};
use crate::side::{Arithmetic, Recorded, Stage, Values};

/// A's arithmetic, on any input of a stage.
trait Rerun {
    fn block(&self, layer: usize, x: &Values) -> Values;
    fn head(&self, x: &Values) -> Values;
}

struct Runner<'m, N: Numerics + ?Sized>(&'m twinpath_engine::Model, &'m N);

impl<N: Numerics + ?Sized> Rerun for Runner<'_, N>
where
    Values: From<Tensor<N::Elem>>,
{
    // A session of its own for each stage, so that no stage's cache outlives it.
    fn block(&self, layer: usize, x: &Values) -> Values {
        Session::new(self.0, self.1).block(layer, tensor(x), &mut NoProbe).into()
    }

    fn head(&self, x: &Values) -> Values {
        Session::new(self.0, self.1).head(tensor(x), &mut NoProbe).into()
    }
}

/// Values in another number type: exact from f32, one rounding from f64.
fn tensor<E: Elem>(values: &Values) -> Tensor<E> {
    let (rows, cols) = values.shape();
    let data = match values {
        Values::F32(t) => t.data().iter().map(|x| E::from_f64(f64::from(*x))).collect(),
        Values::F64(t) => t.data().iter().map(|x| E::from_f64(*x)).collect(),
    };
    Tensor::new(rows, cols, data)
}

/// The split as it grows, stage by stage.
pub(crate) struct Splitter<'m> {
    rerun: Box<dyn Rerun + 'm>,
    layers: usize,
    sums: Vec<LayerSum>,
    /// What goes into the next stage, on both sides.
    stream: Option<[Values; 2]>,
}

impl<'m> Splitter<'m> {
    /// `None` where A is a recording, which runs on nothing.
    pub(crate) fn new(a: &Party<'m>) -> Option<Splitter<'m>> {
        let Source::Model(model, arithmetic) = a.source else { return None };
        let rerun: Box<dyn Rerun + 'm> = match arithmetic {
            Arithmetic::Oracle(oracle) => Box::new(Runner(model, oracle)),
            Arithmetic::Path(path) => Box::new(Runner(model, path.as_ref())),
        };
        let layers = model.config().layers;
        Some(Splitter { rerun, layers, sums: vec![LayerSum::default(); layers + 1], stream: None })
    }

    /// Adds a stage of both sides; stages come in execution order.
    pub(crate) fn add(&mut self, stage: &Stage, a: &[Recorded], b: &[Recorded]) {
        let (site, step) = match stage {
            Stage::Embed => (Site::outer(Point::Embed), 0),
            Stage::Block(layer) => (Site::block(*layer, Point::Output), *layer),
            Stage::Head(_) => (Site::outer(Point::Logits), self.layers),
        };
        let made = [a, b].map(|side| side.iter().find(|r| r.site == site).map(|r| r.values.clone()));
        let [Some(made_a), Some(made_b)] = made else {
            self.stream = None;
            self.sums[step].miss();
            return;
        };
        if made_a.shape() != made_b.shape() || (*stage != Stage::Embed && self.stream.is_none()) {
            self.sums[step].miss();
        } else if let (Some([into_a, into_b]), false) = (&self.stream, *stage == Stage::Embed) {
            let rows = match stage {
                Stage::Head(rows) => rows.clone(),
                _ => 0..into_b.shape().0,
            };
            let (into_a, into_b) = (rows_of(into_a, rows.clone()), rows_of(into_b, rows));
            let crossed = match stage {
                Stage::Block(layer) => self.rerun.block(*layer, &into_b),
                _ => self.rerun.head(&into_b),
            };
            add(&mut self.sums[step], [&into_a, &into_b], [&made_a, &made_b, &crossed]);
        }
        if !matches!(stage, Stage::Head(_)) {
            self.stream = Some([made_a, made_b]);
        }
    }

    pub(crate) fn finish(&self) -> Option<LayerSplit> {
        LayerSplit::of(&self.sums)
    }
}

fn rows_of(values: &Values, rows: std::ops::Range<usize>) -> Values {
    match values {
        Values::F32(t) => Values::F32(t.rows_of(rows)),
        Values::F64(t) => Values::F64(t.rows_of(rows)),
    }
}

fn add(sum: &mut LayerSum, into: [&Values; 2], out: [&Values; 3]) {
    let (mut a, mut b, mut crossed) = (Vec::new(), Vec::new(), Vec::new());
    for t in 0..out[0].shape().0 {
        into[0].row(t, &mut a);
        into[1].row(t, &mut b);
        sum.add_input(&a, &b);
        out[0].row(t, &mut a);
        out[1].row(t, &mut b);
        out[2].row(t, &mut crossed);
        sum.add_output(&a, &b, &crossed);
    }
}
