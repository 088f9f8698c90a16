//! Values of tensors of an arena, before it is allocated.
use crate::plan::arena::Mat;
use bytemuck::Pod;

/// Values of tensors, in the order in which they were written.
#[derive(Default)]
pub struct Contents(Vec<(usize, Vec<u8>)>);

impl Contents {
    /// Gives a tensor these values.
    ///
    /// # Panics
    /// When `values` has another length.
    pub fn write<E: Pod>(&mut self, mat: Mat<E>, values: &[E]) {
        assert_eq!(values.len(), mat.len(), "elements of a tensor");
        self.0.push((mat.offset(), bytemuck::cast_slice(values).to_vec()));
    }

    /// The values that a tensor has been given last.
    ///
    /// # Panics
    /// When it has been given none.
    pub fn read<E: Pod>(&self, mat: Mat<E>) -> Vec<E> {
        let (_, bytes) = self.0.iter().rfind(|(place, _)| *place == mat.offset()).expect("a tensor with values");
        let mut values = vec![E::zeroed(); mat.len()];
        bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytes);
        values
    }

    /// The first byte's place, and the bytes, of each tensor in turn.
    pub fn bytes(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.0.iter().map(|(place, bytes)| (*place, &bytes[..]))
    }
}
