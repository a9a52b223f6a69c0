//! Two sides of one model, judged together: a linear op of A waits until B makes the same one, and weights are read and
//! taken apart once for both.

use std::cell::RefCell;

use twinpath_engine::{Op, Site, Tensor};
use twinpath_paths::declared::{self, linear};

use crate::judge::{Judged, Replay};
use crate::side::Recorded;

/// What a side does with its linear ops.
#[derive(Clone, Copy)]
pub(crate) enum Role<'p> {
    /// It leaves them to the side that follows.
    First,
    /// It judges them with its own; so is the side before it replayed.
    Second(Replay<'p>),
}

/// A value with its input.
struct Waiting {
    site: Site,
    x: Tensor<f32>,
    value: Tensor<f32>,
    first_row: usize,
}

/// Where one side leaves its linear ops for the other.
#[derive(Default)]
pub(crate) struct Desk {
    waiting: RefCell<Vec<Waiting>>,
    judged: RefCell<Vec<(Site, Judged)>>,
}

/// A linear op as it is made.
pub(crate) struct Linear<'a> {
    pub(crate) site: Site,
    pub(crate) op: &'a Op<'a>,
    pub(crate) x: &'a Tensor<f32>,
    pub(crate) value: &'a Tensor<f32>,
    pub(crate) first_row: usize,
}

impl Desk {
    /// As `role` wants it; nothing, if it is left to the other side.
    pub(crate) fn judge(&self, role: Role<'_>, replay: &Replay<'_>, made: &Linear<'_>) -> Option<Judged> {
        let Role::Second(first) = role else {
            let Linear { site, x, value, first_row, .. } = *made;
            self.waiting.borrow_mut().push(Waiting { site, x: x.clone(), value: value.clone(), first_row });
            return None;
        };
        let mut waiting = self.waiting.borrow_mut();
        let Some(other) = waiting.iter().position(|w| w.site == made.site).map(|at| waiting.swap_remove(at)) else {
            return Some(replay.judge_at(made.site, made.op, &[made.x], made.value, made.first_row));
        };
        let other =
            Linear { site: made.site, op: made.op, x: &other.x, value: &other.value, first_row: other.first_row };
        let [theirs, own] = both([&first, replay], [&other, made]);
        self.judged.borrow_mut().push((made.site, theirs));
        Some(own)
    }

    /// Gives what was found of the first side's ops to them.
    pub(crate) fn hand_out(&self, first: &mut [Recorded]) {
        assert!(self.waiting.borrow().is_empty(), "both sides run one model, whose ops are the same");
        for (site, judged) in self.judged.borrow_mut().drain(..) {
            if let Some(recorded) = first.iter_mut().find(|recorded| recorded.site == site) {
                recorded.judged = Some(judged);
            }
        }
    }
}

/// Judges the same op of both sides. Where each has one path for all positions, weights are read once.
fn both(replays: [&Replay<'_>; 2], made: [&Linear<'_>; 2]) -> [Judged; 2] {
    let apart = |i: usize| {
        let Linear { site, op, x, value, first_row } = *made[i];
        replays[i].judge_at(site, op, &[x], value, first_row)
    };
    let one = |i: usize| replays[i].one_path(made[i].site, made[i].op, made[i].x);
    let (Op::Linear { weight, bias }, Some(a), Some(b)) = (made[0].op, one(0), one(1)) else {
        return [apart(0), apart(1)];
    };
    let asked = [(&a, made[0]), (&b, made[1])]
        .map(|(replay, made)| declared::asked(replay.own, replay.other, weight.tensor_type(), made.x));
    let mut declared = linear::evaluate(*weight, *bias, &asked).into_iter();
    [(&a, made[0]), (&b, made[1])].map(|(replay, made)| match declared.next() {
        Some(declared) => replay.judge_declared(made.op, &[made.x], made.value, made.first_row, declared),
        None => unreachable!("both were asked for"),
    })
}
