//! candle's product of a quantised matrix, for `twinpath bench --peer candle`. candle has threads of its own, as many as
//! `CANDLE_NUM_THREADS` or `RAYON_NUM_THREADS` says; some of its kernels need `RUSTFLAGS=-Ctarget-cpu=native` at build time.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module as _, Tensor, utils};
use twinpath_formats::{Matrix, TensorType};
use twinpath_lab::bench::{Peer, Product};

/// candle on the processor.
pub(super) struct Candle;

/// Weights as candle holds them.
struct Weights {
    product: QMatMul,
    cols: usize,
}

impl Peer for Candle {
    fn name(&self) -> &'static str {
        "candle"
    }

    fn threads(&self) -> usize {
        utils::get_num_threads()
    }

    fn prepare(&self, weights: Matrix<'_>) -> Option<Box<dyn Product>> {
        let storage = QStorage::from_data(Cow::Borrowed(weights.bytes()), &Device::Cpu, dtype(weights.tensor_type())?);
        let tensor = QTensor::new(storage.ok()?, (weights.rows(), weights.cols())).ok()?;
        let product = QMatMul::from_qtensor(tensor).ok()?;
        Some(Box::new(Weights { product, cols: weights.cols() }))
    }
}

impl Product for Weights {
    fn multiply(&mut self, positions: usize, x: &[f32]) -> Result<(), String> {
        let x = Tensor::from_slice(x, (positions, self.cols), &Device::Cpu).map_err(|e| e.to_string())?;
        self.product.forward(&x).map(|y| drop(std::hint::black_box(y))).map_err(|e| e.to_string())
    }
}

/// candle's name for a block type, where it has one.
fn dtype(tensor_type: TensorType) -> Option<GgmlDType> {
    Some(match tensor_type {
        TensorType::Q4_0 => GgmlDType::Q4_0,
        TensorType::Q4_1 => GgmlDType::Q4_1,
        TensorType::Q5_0 => GgmlDType::Q5_0,
        TensorType::Q5_1 => GgmlDType::Q5_1,
        TensorType::Q8_0 => GgmlDType::Q8_0,
        TensorType::Q2K => GgmlDType::Q2K,
        TensorType::Q3K => GgmlDType::Q3K,
        TensorType::Q4K => GgmlDType::Q4K,
        TensorType::Q5K => GgmlDType::Q5K,
        TensorType::Q6K => GgmlDType::Q6K,
        _ => return None,
    })
}
