//! The mathematics of inference, said once.
//!
//! A model family ([`arch`]) writes its forward pass as a straight line of [`Op`]s at [`Site`]s. A [`Numerics`] is one
//! named way of doing that arithmetic; [`oracle`] is the f64 one that all others are judged by. [`Run`](run::Run) is the
//! only caller of a `Numerics`, and it shows every value to the [`Probe`](run::Probe) just after it is made: nothing can
//! be computed unseen.

pub mod chat;
pub mod numerics;
pub mod op;
pub mod rng;
pub mod sampling;
pub mod site;
pub mod tensor;
pub mod tokenizer;

pub use numerics::Numerics;
pub use op::{Mask, Op, Pairing, Rope};
pub use site::{Point, Site};
pub use tensor::{Elem, Tensor};
