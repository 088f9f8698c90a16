//! Activations, fused into the layers that use them.
use crate::cpu::real::Real;
use crate::cpu::vector;

/// A layer's activation, which follows its sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// y = x.
    None = 0,
    /// y = x for x > 0, else e^x - 1.
    Elu = 1,
    /// y = max(x, 0).
    Relu = 2,
    /// y = tanh x.
    Tanh = 3,
}

impl Activation {
    /// The activation with this number.
    pub fn of(number: usize) -> Self {
        [Activation::None, Activation::Elu, Activation::Relu, Activation::Tanh][number]
    }

    /// y of x, over a row, in place.
    pub fn apply<T: Real>(self, row: &mut [T]) {
        match self {
            Activation::None => {}
            Activation::Elu => vector::elu(row),
            // Not max(): a NaN must stay one.
            Activation::Relu => row.iter_mut().for_each(|x| *x = if *x < T::zero() { T::zero() } else { *x }),
            Activation::Tanh => row.iter_mut().for_each(|x| *x = x.tanh()),
        }
    }

    /// dx = dy y'(x), over a row, in place, from the output y.
    pub(crate) fn pull_back<T: Real>(self, y: &[T], dy: &mut [T]) {
        match self {
            Activation::None => {}
            Activation::Elu => vector::elu_backward(dy, y),
            Activation::Relu => {
                dy.iter_mut().zip(y).for_each(|(d, &y)| *d = if y > T::zero() { *d } else { T::zero() })
            }
            Activation::Tanh => dy.iter_mut().zip(y).for_each(|(d, &y)| *d *= T::one() - y * y),
        }
    }
}
