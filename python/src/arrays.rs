//! Arrays of numpy: checked on the way in, handed over without a copy on the way out.
use numpy::ndarray::{Array, IntoDimension};
use numpy::{IntoPyArray, PyArray, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The numbers of an array, and its shape.
pub(super) struct Numbers {
    name: &'static str,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Numbers {
    /// Copies the numbers of an array. Errors (Python): it is no contiguous array of float32, or
    /// holds a number that is not finite.
    pub fn of(name: &'static str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Ok(untyped) = given.cast::<PyUntypedArray>() else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!("{name} is a {kind}, expected a numpy array of float32")));
        };
        let Ok(array) = given.cast::<PyArrayDyn<f32>>() else {
            let message =
                format!("{name} is of {}, expected float32; take {name}.astype(numpy.float32)", untyped.dtype());
            return Err(PyTypeError::new_err(message));
        };
        let slack = || PyValueError::new_err(format!("{name} is not contiguous; take numpy.ascontiguousarray({name})"));
        if !untyped.is_c_contiguous() {
            return Err(slack());
        }
        let values = array.try_readonly()?.as_slice().map_err(|_| slack())?.to_vec();
        let numbers = Numbers { name, shape: untyped.shape().to_vec(), values };
        match numbers.values.iter().position(|x| !x.is_finite()) {
            None => Ok(numbers),
            Some(at) => {
                let row = at / numbers.shape.last().copied().unwrap_or(1).max(1);
                let message = format!(
                    "{name} holds {}, the first such number in row {row}; give finite numbers",
                    numbers.values[at]
                );
                Err(PyValueError::new_err(message))
            }
        }
    }

    /// Refuses another shape than the one that is `expected`.
    pub fn require(&self, fits: bool, expected: &str) -> PyResult<()> {
        if fits {
            return Ok(());
        }
        let (name, shape) = (self.name, &self.shape);
        Err(PyValueError::new_err(format!("{name} has the shape {shape:?}, expected {expected}")))
    }
}

/// The numbers as an array of this shape.
pub(super) fn array<'py, S: IntoDimension>(
    py: Python<'py>,
    shape: S,
    values: Vec<f32>,
) -> Bound<'py, PyArray<f32, S::Dim>> {
    Array::from_shape_vec(shape.into_dimension(), values).expect("as many numbers as the shape says").into_pyarray(py)
}
