//! A tree of boxes, which orders points so that a search can pass over most of them.
use super::points::{PROBED, Point};

/// Points of a leaf of the tree.
const LEAF: usize = 64;
/// Number of coordinates after which an unfinished distance of points is compared with the bound.
const PART_OF_POINT: usize = 4;

/// Boxes of points, and the frames that the points stand for.
pub(super) struct Tree {
    /// The last one holds all points.
    pub nodes: Vec<Node>,
    pub leaves: Vec<Leaf>,
    /// The frames, leaf by leaf.
    pub rows: Vec<f32>,
}

/// A box of points: a leaf, or two more boxes.
pub(super) struct Node {
    low: Point,
    high: Point,
    pub below: Below,
}

pub(super) enum Below {
    Leaf(usize),
    Nodes([usize; 2]),
}

/// Points side by side, coordinate by coordinate, and the number of each. Unused places are
/// infinitely far away. The frames of a leaf lie one after another in [`Tree::rows`], from
/// `first` on.
pub(super) struct Leaf {
    points: [[f32; LEAF]; PROBED],
    pub numbers: [usize; LEAF],
    pub first: usize,
}

impl Tree {
    /// The tree of these points, each with a number, whose frame `frame` returns.
    pub fn new<'f>(points: &mut [(Point, usize)], frame_size: usize, frame: &dyn Fn(usize) -> &'f [f32]) -> Self {
        let rows = Vec::with_capacity(points.len() * frame_size);
        let mut tree = Tree { nodes: Vec::new(), leaves: Vec::new(), rows };
        if !points.is_empty() {
            tree.grow(points, frame);
        }
        tree
    }

    /// Adds the boxes of these points and returns the number of the one that holds all.
    fn grow<'f>(&mut self, points: &mut [(Point, usize)], frame: &dyn Fn(usize) -> &'f [f32]) -> usize {
        let (mut low, mut high) = ([f32::INFINITY; PROBED], [f32::NEG_INFINITY; PROBED]);
        for (point, _) in points.iter() {
            for (axis, &x) in point.iter().enumerate() {
                (low[axis], high[axis]) = (low[axis].min(x), high[axis].max(x));
            }
        }
        let below = if points.len() <= LEAF {
            let mut leaf =
                Leaf { points: [[f32::INFINITY; LEAF]; PROBED], numbers: [usize::MAX; LEAF], first: self.rows.len() };
            for (i, (point, number)) in points.iter().enumerate() {
                leaf.numbers[i] = *number;
                self.rows.extend_from_slice(frame(*number));
                point.iter().enumerate().for_each(|(axis, &x)| leaf.points[axis][i] = x);
            }
            self.leaves.push(leaf);
            Below::Leaf(self.leaves.len() - 1)
        } else {
            let width = |axis: &usize| high[*axis] - low[*axis];
            let widest = (0..PROBED).max_by(|a, b| width(a).total_cmp(&width(b))).expect("there are some");
            let middle = points.len() / 2;
            points.select_nth_unstable_by(middle, |(a, _), (b, _)| a[widest].total_cmp(&b[widest]));
            let (before, after) = points.split_at_mut(middle);
            Below::Nodes([self.grow(before, frame), self.grow(after, frame)])
        };
        self.nodes.push(Node { low, high, below });
        self.nodes.len() - 1
    }
}

impl Leaf {
    /// The squared distances of a point from all points of the leaf, or `None` once all are beyond
    /// reach.
    pub fn square_distances(&self, point: &Point, reach: f32) -> Option<[f32; LEAF]> {
        let mut squares = [0f32; LEAF];
        let (parts, coordinates) = (self.points.as_chunks::<PART_OF_POINT>().0, point.as_chunks::<PART_OF_POINT>().0);
        for (axes, coordinates) in parts.iter().zip(coordinates) {
            for (places, x) in axes.iter().zip(coordinates) {
                for (square, place) in squares.iter_mut().zip(places) {
                    *square += (place - x) * (place - x);
                }
            }
            if !squares.iter().fold(false, |any, &square| any | (square <= reach)) {
                return None;
            }
        }
        Some(squares)
    }
}

impl Node {
    /// The squared distance of a point from the box.
    pub fn square_distance(&self, point: &Point) -> f32 {
        let mut sums = [0f32; 8];
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let [low, high, point] = [&self.low, &self.high, point].map(|point| point.as_chunks::<8>().0);
        for ((low, high), point) in low.iter().zip(high).zip(point) {
            for (sum, ((low, high), x)) in sums.iter_mut().zip(low.iter().zip(high).zip(point)) {
                let off = larger(larger(low - x, x - high), 0.0);
                *sum += off * off;
            }
        }
        sums.iter().sum()
    }
}
