//! Sums over the samples of a mini-batch, as gradients of weights and biases are: their grids, and
//! the sum of rows.
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::cpu::vector;
use crate::plan::{Grid, Grids, Product};

/// Number of columns that one task sums.
const COLUMNS: usize = 256;

/// Grids with a block for each tile of 32 by 32 weights of each expert, whose gradient sums over
/// the samples: enough blocks for any GPU.
pub(super) fn weight_tiles(experts: usize, rows: usize, cols: usize, samples: usize, threads: u32) -> Grids {
    let (tile, lines) = ([32, 32], [rows, cols]);
    let tensor = Product { rows, cols, depth: samples, experts, blended: false, lines, tile, weights: 0, threads };
    Grids { fp32: Grid { threads: 256, ..tensor.grid() }, tensor: Some(tensor) }
}

/// sums = the sum of the rows of [B, O], or this sum added to `sums`.
pub(crate) fn column_sums<T: Real>(rows: &[T], o: usize, add: bool, sums: &mut [T], team: &Team) {
    team.each(pieces(sums, COLUMNS), |task, sums| {
        if !add {
            sums.fill(T::zero());
        }
        vector::add_column_sums(sums, &rows[task * COLUMNS..], rows.len() / o, o);
    });
}
