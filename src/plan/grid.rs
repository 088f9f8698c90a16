//! Grids that run kernels, and the matrix products that kernels compute.
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;

/// Most blocks that a kernel runs on.
pub const MAX_BLOCKS: usize = 1 << 20;

/// The number of blocks, and of threads in each, that run a kernel. It decides speed alone: kernels
/// are right on any grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block, a multiple of 32.
    pub threads: u32,
}

impl Grid {
    /// A grid of one block.
    pub fn one(threads: u32) -> Self {
        Grid { blocks: 1, threads }
    }

    /// A grid with a thread for each element, up to a few blocks on each multiprocessor of a large
    /// GPU.
    pub fn elements(n: usize, threads: u32) -> Self {
        Grid { blocks: n.div_ceil(threads as usize).clamp(1, 1024) as u32, threads }
    }

    /// A grid with a block for each item.
    pub(crate) fn items(n: usize, threads: u32) -> Self {
        Grid { blocks: n.clamp(1, MAX_BLOCKS) as u32, threads }
    }
}

/// The precision in which kernels compute matrix products, as `--precision` says. All sums are in
/// single precision, and so is all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// Single precision: the reference.
    Fp32,
    /// On tensor cores, each factor as the sum of two bf16 numbers: three products, nearly single
    /// precision.
    Bf16x3,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("none is hidden").get_name())
    }
}

/// A matrix product in tiles for tensor cores, [rows, depth] by [depth, cols] for each expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Rows of the result.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Length of the sums.
    pub depth: usize,
    /// Number of such products; 1 except in layers with experts.
    pub experts: usize,
    /// True if a tile holds all experts, to blend them.
    pub blended: bool,
    /// Numbers in a line of memory of the left and of the right factor.
    pub lines: [usize; 2],
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    /// Columns of the weights, the fields `w` and `w2`, that belong to a tile; 0 if the right
    /// factor is no weights, or if tiles take several passes.
    pub weights: usize,
    /// Threads of a block.
    pub threads: u32,
}

impl Product {
    /// A grid with a block for each tile.
    pub fn grid(&self) -> Grid {
        let [rows, cols] = self.tile;
        let each = if self.blended { 1 } else { self.experts };
        Grid::items(self.rows.div_ceil(rows) * self.cols.div_ceil(cols) * each, self.threads)
    }

    /// Panels of a tile, one for each expert that it holds.
    pub fn panels(&self) -> usize {
        if self.blended { self.experts } else { 1 }
    }

    /// Products on tensor cores, 16 by 8 by 16, of a tile in a step of 16 inner indices. There are
    /// three for each pair of matrices.
    pub fn multiplications(&self) -> usize {
        let [rows, cols] = self.tile;
        3 * (rows / 16) * (cols / 8) * self.panels()
    }

    /// Copies of 16 bytes and of 4 by which a warp loads both factors of a tile in such a step. It
    /// copies four numbers at once where four divide the lines of a factor.
    pub fn copies(&self) -> [usize; 2] {
        let [rows, cols] = self.tile;
        let each = [rows, cols * self.panels()].map(|lines| lines * 16 / 32);
        let sum = |wide: bool| {
            (0..2).filter(|&of| self.lines[of].is_multiple_of(4) == wide).map(|of| each[of]).sum::<usize>()
        };
        [sum(true) / 4, sum(false)]
    }

    /// Numbers of shared memory that the weights of a tile take once fetched; see `SLAB` in
    /// `kernels/tile_tensor.cuh`.
    pub fn fetched(&self) -> usize {
        if self.weights == 0 { 0 } else { self.depth.div_ceil(16) * (16 * self.weights + 24) }
    }
}

/// The grids of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grids {
    /// The grid of the kernel itself.
    pub fp32: Grid,
    /// The product that its variants on tensor cores compute, if there are any: see
    /// [`Call::variant`](super::Call::variant).
    pub tensor: Option<Product>,
}

impl From<Grid> for Grids {
    fn from(fp32: Grid) -> Self {
        Grids { fp32, tensor: None }
    }
}
