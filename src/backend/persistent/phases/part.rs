//! A call, or some shares of one, as what gets a place of its own in a step.
use crate::plan::{Call, Field, Precision, Product, conflict, overlap};
use std::ops::Range;

/// The weights of a product, and those of a twin: see [`Product::weights`].
pub(super) const WEIGHTS: [&str; 2] = ["w", "w2"];

/// A call, or some of its shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place in the order of all parts, which is the plan's.
    pub number: usize,
    /// The place of the call in the plan.
    pub call: usize,
    /// The shares, if the call has any: see [`Call::shares`].
    pub shares: Range<u32>,
}

impl Part {
    /// Number of its tiles, or shares.
    pub(super) fn tiles(&self, calls: &[Call], precision: Precision) -> u32 {
        let call = &calls[self.call];
        call.shares().map_or(call.variant(precision).1.blocks, |_| self.shares.len() as u32)
    }

    /// The bytes that the part touches, and whether it writes them. If it `fetches`, it touches
    /// only the weights of its product.
    pub(super) fn touched<'a>(
        &self,
        calls: &'a [Call],
        fetches: bool,
    ) -> impl Iterator<Item = (Range<usize>, bool)> + use<'a> {
        let call = &calls[self.call];
        let fields = call.kernel_fields().zip(call.touched(self.shares.clone()));
        fields.filter(move |(field, _)| !fetches || WEIGHTS.contains(&field.name)).map(|(_, touched)| touched)
    }

    /// True if one of two parts writes what the other touches.
    pub(super) fn conflicts(&self, other: &Part, calls: &[Call]) -> bool {
        conflict(self.touched(calls, false), || other.touched(calls, false))
    }

    /// True if two parts, one of which touches what the other writes, need no barrier between them:
    /// the same blocks run both, in order.
    pub(super) fn goes_on(&self, other: &Part, calls: &[Call]) -> bool {
        let (one, next) = (&calls[self.call], &calls[other.call]);
        self.call != other.call && same_tiles(one, next)
            || self.shares.start == other.shares.start && share_by_share(one, next)
    }
}

/// True if two products, one of which touches what the other writes, meet only in their outputs,
/// which they write in the same tiles.
fn same_tiles(a: &Call, b: &Call) -> bool {
    let outputs = |call: &Call| call.written().map(|field| field.bytes.clone()).collect::<Vec<_>>();
    let reads = |a: &Call, b: &Call| {
        let mut read = b.kernel_fields().filter(|f| b.output(f).is_none());
        read.any(|f| a.written().any(|w| overlap(&w.bytes, &f.bytes)))
    };
    a.kernel() == b.kernel()
        && a.product().is_some()
        && a.product().map(tiling) == b.product().map(tiling)
        && outputs(a) == outputs(b)
        && !reads(a, b)
        && !reads(b, a)
}

/// True if two calls meet only share by share: whatever one writes and the other touches is cut
/// into shares alike in both.
fn share_by_share(a: &Call, b: &Call) -> bool {
    let writes = |call: &Call, field| call.output(field).is_some();
    let shared: Vec<_> = a
        .kernel_fields()
        .flat_map(|x| b.kernel_fields().map(move |y| (x, y)))
        .filter(|(x, y)| overlap(&x.bytes, &y.bytes) && (writes(a, x) || writes(b, y)))
        .collect();
    let each = |(x, y): &(&Field, &Field)| {
        x.bytes == y.bytes && a.bytes_of_share(x).is_some() && a.bytes_of_share(x) == b.bytes_of_share(y)
    };
    !shared.is_empty() && shared.iter().all(each)
}

/// The fields of a product that decide which numbers belong to a tile: not those of the factors.
fn tiling(product: Product) -> Product {
    Product { depth: 0, lines: [0; 2], ..product }
}
