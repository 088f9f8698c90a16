//! The time of a step in one launch: **a model**, not a measurement, of numbers that others
//! published for an H100 (docs/lab-notes/2026-11-speed.md). It decides where parts run; no computed
//! number depends on it.
use super::part::{Part, WEIGHTS};
use super::row::Row;
use crate::plan::{Call, Precision, Product};

/// Microseconds of a part besides its tiles: to begin to load, and for what follows the sums.
const START: f64 = 0.217 + 0.25;
/// Microseconds to start a node of a graph.
const NODE: f64 = 1.24;
/// Microseconds from the last block's arrival at a barrier until all blocks go on.
const BARRIER: f64 = 0.71;
/// Microseconds a KB that all blocks load, each for itself.
const LOADED: f64 = 0.0113;
/// Microseconds a KB that goes through memory, of which a block has its share: 4.3 TB/s in all.
const MOVED: f64 = 0.0307;
/// Microseconds of a product on tensor cores, 16 by 8 by 16: 1.53 cycles at 1.755 GHz.
const MMA: f64 = 1.53 / 1755.0;

/// Microseconds of the row of a part: a block reads where its tiles lie.
const ROW: f64 = 0.08;
/// Microseconds in which a block of 8 warps starts an instruction of a warp: four schedulers start
/// one each in a cycle.
const ISSUE: f64 = 0.25 / 1755.0;
/// Instructions of a warp in a step of 16 inner indices: those of every product, of a product on
/// tensor cores, of a copy of 16 bytes and of one of 4. They fit the counts in machine code within
/// a quarter, which `benches/gpu/sass.py` checks.
const STEP: [f64; 4] = [60.0, 4.2, 9.0, 5.5];
/// Instructions of the warps of a block that update a tile of weights.
const UPDATE: f64 = 8.0 * 226.0;

/// The modelled instructions of a warp in a step of 16 inner indices.
pub fn instructions(product: &Product) -> f64 {
    let [wide, narrow] = product.copies();
    let counts = [1, product.multiplications(), wide, narrow];
    STEP.iter().zip(counts).map(|(each, count)| each * count as f64).sum()
}

/// The modelled time that a part takes a block.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Number of tiles, or shares.
    pub tiles: u32,
    /// Microseconds a tile.
    each: f64,
    /// Microseconds of a tile that go to its weights, in a product that may find the weights
    /// fetched.
    weights: f64,
}

impl Cost {
    /// The cost of a part. `resident`, from 0 to 1, is the fraction of its tiles or shares whose
    /// block has numbers of theirs resident.
    pub fn of(calls: &[Call], part: &Part, precision: Precision, resident: f64) -> Self {
        let (call, tiles) = (&calls[part.call], part.tiles(calls, precision));
        let kilobytes = |bytes: usize| bytes as f64 / 1024.0;
        let Some(product) = call.product() else {
            // Bytes that are written are also read. Of all else only two things are large: fields
            // of which each share reads its own part, and weights.
            let touched = call.kernel_fields().zip(call.touched(part.shares.clone()));
            let bytes = touched.map(|(field, (bytes, writes))| match (writes, call.bytes_of_share(field)) {
                (true, _) => 2 * bytes.len(),
                (false, Some(_)) => bytes.len(),
                (false, None) => 0,
            });
            let each = MOVED * kilobytes(bytes.sum()) / f64::from(tiles.max(1)) + LOADED * kilobytes(call.loaded());
            return Cost { tiles, each, weights: 0.0 };
        };
        let ([rows, cols], panels) = (product.tile, product.panels());
        let columns = |n: usize| LOADED * kilobytes(size_of::<f32>() * product.depth * n);
        let steps = product.depth.div_ceil(16);
        // A product that updates weights reads and writes them and both moments. Moments that stay
        // cost nothing.
        let updates = call.kernel_fields().any(|field| WEIGHTS.contains(&field.name) && call.output(field).is_some());
        let updated =
            if updates { (6.0 - 4.0 * resident) * MOVED * kilobytes(size_of::<f32>() * rows * cols) } else { 0.0 };
        let weights = columns(cols * panels);
        let mmas = (product.multiplications() * steps) as f64;
        let started = ISSUE * (instructions(&product) * steps as f64 + if updates { UPDATE } else { 0.0 });
        // Numbers come while others are multiplied.
        let each = f64::max(columns(rows) + weights + MMA * mmas + updated, started);
        Cost { tiles, each, weights }
    }

    /// Microseconds that a block spends on `own` tiles of the part, with nothing fetched.
    fn of_tiles(&self, own: u32) -> f64 {
        if own == 0 { 0.0 } else { ROW + START + f64::from(own) * self.each }
    }

    /// Microseconds that a block spends on `own` tiles of a row.
    fn of_row(&self, row: &Row, own: u32) -> f64 {
        match row.fetched {
            Some(_) if own > 0 && row.fetches => self.weights,
            Some(_) if own > 0 => self.of_tiles(own) - self.weights,
            _ => self.of_tiles(own),
        }
    }

    /// The most microseconds that one of `blocks` blocks spends on the row.
    pub fn most(&self, row: &Row, blocks: u32) -> f64 {
        self.of_row(row, self.tiles.div_ceil(blocks))
    }

    /// Adds to the clock of each block the time that it spends on the row; returns the sum over all
    /// blocks.
    fn spend(&self, row: &Row, clocks: &mut [f64]) -> f64 {
        let blocks = clocks.len() as u32;
        let (all, more) = (self.tiles / blocks, self.tiles % blocks);
        let (base, with) = (self.of_row(row, all), self.of_row(row, all + 1));
        if base > 0.0 {
            clocks.iter_mut().for_each(|clock| *clock += base);
        }
        // Blocks with one tile more, from the row's first block on.
        let (first, end) = (row.first_block as usize, (row.first_block + more) as usize);
        let behind = end.saturating_sub(clocks.len());
        let end = end.min(clocks.len());
        clocks[first..end].iter_mut().for_each(|clock| *clock += with - base);
        clocks[..behind].iter_mut().for_each(|clock| *clock += with - base);
        f64::from(blocks) * base + f64::from(more) * (with - base)
    }
}

/// Microseconds of a whole call as a node of a graph that has all `blocks` multiprocessors for
/// itself.
pub fn node(call: &Call, precision: Precision, blocks: u32) -> f64 {
    let part = Part { number: 0, call: 0, shares: 0..call.shares().unwrap_or(0) };
    let cost = Cost::of(std::slice::from_ref(call), &part, precision, 0.0);
    NODE + cost.of_tiles(cost.tiles.div_ceil(blocks))
}

/// Microseconds of each phase of a step, from one barrier to the next.
pub fn phases(rows: &[(&Row, Cost)], blocks: u32) -> Vec<f64> {
    let mut barriers = vec![0.0];
    walk(rows, blocks, |time| barriers.push(time));
    let last = barriers.len() - rows.iter().filter(|(row, _)| row.waits).count();
    (last..barriers.len()).map(|i| barriers[i] - barriers[i - 1]).collect()
}

/// Microseconds from one step to the next, and those of them in which an average block has nothing
/// to do. `rows` come in their order, with their costs.
pub fn step(rows: &[(&Row, Cost)], blocks: u32) -> [f64; 2] {
    walk(rows, blocks, |_| ())
}

/// As [`step`]; calls `barrier` with the time of each barrier of three steps.
fn walk(rows: &[(&Row, Cost)], blocks: u32, mut barrier: impl FnMut(f64)) -> [f64; 2] {
    let mut clocks = vec![0.0; blocks as usize];
    let latest = |clocks: &[f64]| clocks.iter().copied().fold(0.0, f64::max);
    let (mut busy, mut arrived, mut starts) = (0.0, 0.0, [0.0; 3]);
    for start in &mut starts {
        *start = latest(&clocks);
        busy = 0.0;
        for (row, cost) in rows {
            busy += cost.spend(row, &mut clocks);
            if row.arrives {
                arrived = latest(&clocks);
            }
            if row.waits {
                clocks.iter_mut().for_each(|clock| *clock = clock.max(arrived + BARRIER));
                barrier(arrived + BARRIER);
            }
        }
    }
    // The second step ended as the third one does, so the difference is one step.
    let step = latest(&clocks) - starts[2];
    [step, step - busy / f64::from(blocks)]
}
