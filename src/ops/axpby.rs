//! y = a x + b w, element by element (without b w when there is no w): it makes a latent from an
//! action and what is mixed into it.
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// \[n\].
        x: T [n],
        /// \[n\] or absent.
        w: T [n],
    }
    writes {
        /// \[n\].
        y: T [n],
    }
    numbers {
        /// Factor of x.
        a,
        /// Factor of w.
        b,
    }
    sizes {
        /// Number of elements.
        n,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// Appends y = a x + b w; `w` may be absent. Errors: shapes that do not fit.
pub fn push<T: Real>(plan: &mut Plan, (a, x): (f64, Mat<T>), (b, w): (f64, Mat<T>), y: Mat<T>) -> Result<()> {
    expect("axpby", "y", y.len(), x.len(), "as many as x")?;
    if !w.is_none() {
        expect("axpby", "w", w.len(), x.len(), "as many as x")?;
    }
    let (n, scalar) = (size(x.len()), Default::default());
    let args = Args { x: x.into(), w: w.into(), y: y.into(), a, b, n, pad: 0, scalar };
    plan.push(Call::new("axpby", Grid::elements(x.len(), 256), &[Output::whole("y")], args, cpu::axpby::<T>));
    Ok(())
}

/// The definition.
pub mod cpu {
    use super::*;

    /// y = a x + b w
    pub(crate) fn axpby<T: Real>(v: View<'_, T>, _: &Team) {
        let (a, b) = (T::of(v.a), T::of(v.b));
        for (i, (y, &x)) in v.y.iter_mut().zip(v.x).enumerate() {
            *y = a * x + v.w.get(i).map_or(T::zero(), |&w| b * w);
        }
    }
}
