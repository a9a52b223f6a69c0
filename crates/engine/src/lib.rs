//! The mathematics of inference, said once.
//!
//! A model family ([`arch`]) writes its forward pass as a straight line of [`Op`]s at [`Site`]s. A [`Numerics`] is one
//! named way of doing that arithmetic; [`Oracle`] is the f64 one that all others are judged by. [`Session`] is the
//! only caller of a `Numerics`, and it shows every value to the [`Probe`] just after it is made: nothing can be computed
//! unseen.

pub mod arch;
pub mod chat;
pub mod config;
pub mod error;
pub mod load;
pub mod model;
pub mod numerics;
pub mod op;
pub mod oracle;
pub mod rng;
pub mod rope;
pub mod run;
pub mod sampling;
pub mod site;
pub mod tensor;
pub mod tokenizer;

pub use config::Config;
pub use error::EngineError;
pub use model::{Linear, Model};
pub use numerics::Numerics;
pub use op::{Mask, Op, Pairing, Rope};
pub use oracle::Oracle;
pub use run::{NoProbe, Probe, Rows, Session};
pub use site::{Point, Site};
pub use tensor::{Elem, Tensor};
