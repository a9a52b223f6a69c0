//! Decoding a tensor and rounding it to f16 or f32, row by row.

use std::io::Write;
use std::path::Path;

use half::f16;

use super::Dequantize;
use crate::atomic::write_error;
use crate::error::{Fault, FormatError};
use crate::matrix::Matrix;

/// Writes all rows of `matrix` as plain floats, each the nearest to the exact value, ties to even.
pub(crate) fn write_rounded(
    file: &Path,
    tensor: &str,
    matrix: &Matrix,
    target: Dequantize,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FormatError> {
    let mut exact = vec![0f64; matrix.cols()];
    let mut bytes = Vec::new();
    for row in 0..matrix.rows() {
        matrix.decode_row(row, &mut exact);
        bytes.clear();
        for value in &exact {
            let fits = match target {
                Dequantize::F16 => {
                    let rounded = to_f16(*value);
                    bytes.extend(rounded.to_le_bytes());
                    rounded.is_finite()
                }
                Dequantize::F32 => {
                    let rounded = *value as f32;
                    bytes.extend(rounded.to_le_bytes());
                    rounded.is_finite()
                }
            };
            if !fits && value.is_finite() {
                let (tensor, target) = (tensor.to_owned(), target.tensor_type().name());
                return Err(Fault::DoesNotFit { tensor, value: *value, target }.at(file));
            }
        }
        out.write_all(&bytes).map_err(|e| write_error(file, e))?;
        progress(bytes.len() as u64);
    }
    Ok(())
}

/// The nearest f16. By way of f32 rounded to odd, which keeps what the second rounding must know.
fn to_f16(value: f64) -> f16 {
    let nearest = value as f32;
    if !nearest.is_finite() || f64::from(nearest) == value {
        return f16::from_f32(nearest);
    }
    let toward_zero =
        if f64::from(nearest).abs() > value.abs() { f32::from_bits(nearest.to_bits() - 1) } else { nearest };
    f16::from_f32(f32::from_bits(toward_zero.to_bits() | 1))
}

#[cfg(test)]
mod tests {
    use super::to_f16;

    #[test]
    fn a_value_just_above_a_tie_rounds_up_where_two_roundings_would_go_down() {
        // 1 + 2^-11 is the tie between the f16s 1 and 1 + 2^-10; adding 2^-40 is lost in f32 and breaks the tie.
        let tie = 1.0 + 2f64.powi(-11);
        assert_eq!(to_f16(tie).to_f64(), 1.0);
        assert_eq!(to_f16(tie + 2f64.powi(-40)).to_f64(), 1.0 + 2f64.powi(-10));
        assert_eq!(to_f16(tie - 2f64.powi(-40)).to_f64(), 1.0);
        assert_eq!(to_f16(-tie - 2f64.powi(-40)).to_f64(), -1.0 - 2f64.powi(-10));
        assert_eq!(to_f16(1e-300).to_f64(), 0.0);
    }
}
