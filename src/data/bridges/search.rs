//! The search for the most similar frame among all frames of a set. It is exact, and its time is
//! nearly linear in the number of frames.
//!
//! Frames are points. The few directions in which frames differ most give a lower bound of their
//! distance. These coordinates order the points into a tree of boxes, and a search looks only into
//! boxes that may hold a nearer frame than the best so far. Copies of a clip share one search, and
//! equal frames are one point, so that copies and standing still cost no more than other motion.
mod points;
mod tree;

use points::{PROBED, Point, points};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use tree::{Below, Leaf, Tree};

/// Number of parts that a thread's share of the clips is divided into.
const PARTS: usize = 8;
/// Number of features after which an unfinished distance of frames is compared with the bound.
const PART: usize = 64;

/// Largest number of bytes for a frame's points and places, and its share of the tree and of
/// building it.
pub(crate) const FRAME_BYTES: u64 = 1100;

/// A pair of frames: where a clip is left, and where motion goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bridge {
    /// The last frame before the bridge.
    pub from: usize,
    /// The frame that `from` takes the place of: motion goes on with the frame after it.
    pub to: usize,
    /// Number of the clip that holds `to`.
    pub clip: usize,
}

/// The input of a search.
pub struct Field<'a> {
    /// All frames, normalised, [N, F].
    pub frames: &'a [f32],
    /// F.
    pub frame_size: usize,
    /// The clips.
    pub clips: &'a [Range<usize>],
    /// A key of each clip that it shares with its copies and mirror images.
    pub motions: &'a [u64],
    /// Largest number of frames before its last at which a clip is left.
    pub leave: usize,
    /// Least number of frames from `to` to the end of its clip; within the same motion also between
    /// `from` and `to`.
    pub arrive: usize,
    /// Square distance below which frames are alike.
    pub alike: f32,
}

/// The best bridge of a clip found so far.
#[derive(Clone, Copy)]
struct Best {
    square: f32,
    bridge: Option<Bridge>,
    /// Squared distance of points beyond which their frames are farther apart than `square`.
    reach: f32,
}

/// A frame after which a clip may be left.
#[derive(Clone, Copy)]
struct Query {
    /// Index of the clip among those of this search.
    slot: usize,
    /// Number of the clip.
    own: usize,
    from: usize,
}

/// Every place where a frame that can be gone to occurs, as clip and frame, in order.
type Places = [(usize, usize)];

struct Search<'a> {
    field: &'a Field<'a>,
    points: Vec<Point>,
    /// Places of all different frames one after another; `starts` holds where those of each frame
    /// begin.
    places: Vec<(usize, usize)>,
    starts: Vec<usize>,
    /// The frames that can be gone to.
    tree: Tree,
    /// Largest rounding error of the distance of two points.
    slack: f32,
}

impl Field<'_> {
    /// The bridge of each clip: the nearest of all allowed pairs of frames; of equally near pairs
    /// the first. `done` is called now and then with the finished share of the work.
    pub(crate) fn search(&self, threads: usize, mut done: impl FnMut(f64)) -> Vec<Option<Bridge>> {
        let threads = threads.max(1);
        let firsts = self.firsts();
        let own: Vec<usize> = (0..firsts.len()).filter(|&clip| firsts[clip] == clip).collect();
        let search = Search::new(self, &own, threads);
        let mut found = vec![None; self.clips.len()];
        let threads = threads.clamp(1, own.len().max(1));
        let parts: Vec<&[usize]> = own.chunks(own.len().div_ceil(PARTS * threads).max(1)).collect();
        let (next, (send, receive)) = (AtomicUsize::new(0), mpsc::channel());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (send, search, next, parts) = (send.clone(), &search, &next, &parts);
                scope.spawn(move || {
                    while let Some(&part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let _ = send.send((part, search.bridges(part)));
                    }
                });
            }
            drop(send);
            for (count, (part, bridges)) in receive.iter().enumerate() {
                part.iter().zip(bridges).for_each(|(&clip, bridge)| found[clip] = bridge);
                done((count + 1) as f64 / parts.len() as f64);
            }
        });
        // A copy is left at the same frame, counted from its start.
        let copied = |(clip, &first): (usize, &usize)| {
            let shifted = |bridge: Bridge| Bridge {
                from: bridge.from - self.clips[first].start + self.clips[clip].start,
                ..bridge
            };
            found[first].map(shifted)
        };
        firsts.iter().enumerate().map(copied).collect()
    }

    /// For each clip the first clip that it is a copy of, or itself.
    fn firsts(&self) -> Vec<usize> {
        let rows = |clip: usize| {
            &self.frames[self.clips[clip].start * self.frame_size..self.clips[clip].end * self.frame_size]
        };
        let mut of_motion: HashMap<u64, Vec<usize>> = HashMap::new();
        let first = |clip: usize| {
            let others = of_motion.entry(self.motions[clip]).or_default();
            let first = others.iter().copied().find(|&other| rows(other) == rows(clip));
            first.unwrap_or_else(|| (others.push(clip), clip).1)
        };
        (0..self.clips.len()).map(first).collect()
    }

    fn frame(&self, index: usize) -> &[f32] {
        &self.frames[index * self.frame_size..][..self.frame_size]
    }

    /// True if a place is so near in the same motion that a bridge to it would lead nowhere.
    fn is_near(&self, own: usize, from: usize, (clip, to): (usize, usize)) -> bool {
        let since = |clip: usize, frame: usize| frame - self.clips[clip].start;
        self.motions[clip] == self.motions[own] && since(clip, to).abs_diff(since(own, from)) < self.arrive
    }
}

impl<'a> Search<'a> {
    fn new(field: &'a Field<'a>, own: &[usize], threads: usize) -> Self {
        let (points, slack) = points(field, threads);
        let targets = own.iter().flat_map(|&clip| {
            let Range { start, end } = field.clips[clip];
            (start..end.saturating_sub(field.arrive)).map(move |to| (clip, to))
        });
        let mut kinds: HashMap<[u32; PROBED], Vec<(usize, usize)>> = HashMap::new();
        let mut count = 0;
        let mut places: Vec<(usize, (usize, usize))> = Vec::new();
        for (clip, to) in targets.filter(|&(_, to)| points[to].iter().all(|x| x.is_finite())) {
            let new = (count, to);
            let kind = match kinds.entry(points[to].map(f32::to_bits)) {
                Entry::Vacant(none) => none.insert(vec![new])[0],
                Entry::Occupied(mut alike) => {
                    let equal = alike.get().iter().find(|(_, other)| field.frame(*other) == field.frame(to)).copied();
                    equal.unwrap_or_else(|| (alike.get_mut().push(new), new).1)
                }
            };
            count += usize::from(kind == new);
            places.push((kind.0, (clip, to)));
        }
        drop(kinds);
        places.sort_by_key(|(kind, _)| *kind); // stable: in order among equal frames
        let starts: Vec<usize> = (0..=count).map(|kind| places.partition_point(|(other, _)| *other < kind)).collect();
        let places: Vec<(usize, usize)> = places.into_iter().map(|(_, place)| place).collect();
        let first = |kind: usize| places[starts[kind]].1;
        let mut all: Vec<(Point, usize)> = (0..count).map(|kind| (points[first(kind)], kind)).collect();
        let tree = Tree::new(&mut all, field.frame_size, &|kind| field.frame(first(kind)));
        Search { field, points, places, starts, tree, slack }
    }

    fn places_of(&self, kind: usize) -> &Places {
        &self.places[self.starts[kind]..self.starts[kind + 1]]
    }

    /// The bridges of some clips. The last frames of all of them go through the tree together, so
    /// that the data of one comparison is still in the cache for the next.
    fn bridges(&self, clips: &[usize]) -> Vec<Option<Bridge>> {
        let mut best = vec![self.best(self.field.alike, None); clips.len()];
        let Some(root) = self.tree.nodes.len().checked_sub(1) else { return vec![None; clips.len()] };
        let mut all = Vec::new();
        for (slot, &own) in clips.iter().enumerate() {
            let Range { start, end } = self.field.clips[own];
            let last = end.saturating_sub(self.field.leave + 1).max(start)..end;
            let last = last.filter(|&from| self.points[from].iter().all(|x| x.is_finite()));
            all.extend(last.map(|from| Query { slot, own, from }));
        }
        // The first pass follows only the nearer box of each frame. Its result shortens the second
        // pass, which looks into all boxes in reach.
        for only in [true, false] {
            self.look(root, &all, only, &mut best);
        }
        best.into_iter().map(|best| best.bridge).collect()
    }

    fn best(&self, square: f32, bridge: Option<Bridge>) -> Best {
        // Bound on the rounding of a sum of F squares, as a factor.
        let more = 1.0 + f32::EPSILON * self.field.frame_size as f32;
        let reach = square.sqrt() * more + self.slack;
        // Finite, so that the unused places of a leaf, which are infinitely far away, are out of
        // reach.
        Best { square, bridge, reach: (reach * reach * more).min(f32::MAX) }
    }

    /// Looks for nearer frames in the boxes within reach, the nearer box first; with `only`, only
    /// in the nearer box.
    fn look(&self, node: usize, queries: &[Query], only: bool, best: &mut [Best]) {
        let nodes = match self.tree.nodes[node].below {
            Below::Leaf(leaf) => {
                return queries
                    .iter()
                    .for_each(|query| self.compare(&self.tree.leaves[leaf], query, &mut best[query.slot]));
            }
            Below::Nodes(nodes) => nodes,
        };
        // Queries by their nearer box; and queries that also have their farther box in reach, with
        // the squared distance from it.
        let (mut nearer, mut farther) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
        for query in queries {
            let squares = nodes.map(|node| self.tree.nodes[node].square_distance(&self.points[query.from]));
            let near = usize::from(squares[1] < squares[0]);
            let reach = best[query.slot].reach;
            if squares[near] <= reach {
                nearer[near].push(*query);
            }
            if squares[1 - near] <= reach {
                farther[1 - near].push((squares[1 - near], *query));
            }
        }
        for (node, queries) in nodes.into_iter().zip(&nearer).filter(|(_, queries)| !queries.is_empty()) {
            self.look(node, queries, only, best);
        }
        for (node, queries) in nodes.into_iter().zip(farther).filter(|_| !only) {
            let still = queries.into_iter().filter(|(square, query)| *square <= best[query.slot].reach);
            let still: Vec<Query> = still.map(|(_, query)| query).collect();
            if !still.is_empty() {
                self.look(node, &still, only, best);
            }
        }
    }

    fn compare(&self, leaf: &Leaf, query: &Query, best: &mut Best) {
        let (point, reach) = (&self.points[query.from], best.reach);
        let Some(squares) = leaf.square_distances(point, reach) else { return };
        for (i, square) in squares.into_iter().enumerate() {
            if square <= best.reach {
                let row = &self.tree.rows[leaf.first + i * self.field.frame_size..][..self.field.frame_size];
                self.compare_one(row, leaf.numbers[i], query, best);
            }
        }
    }

    fn compare_one(&self, row: &[f32], kind: usize, query: &Query, best: &mut Best) {
        let (field, &Query { own, from, .. }) = (self.field, query);
        let square = square_distance(field.frame(from), row, best.square);
        if square > best.square || square.is_nan() {
            return;
        }
        // Ties are decided in the order of the definition: by the frame that is left, then by clip
        // and frame that motion goes to.
        let earlier =
            |(clip, to): (usize, usize)| best.bridge.is_some_and(|b| (from, clip, to) < (b.from, b.clip, b.to));
        let places = self.places_of(kind);
        let Some(&(clip, to)) = places.iter().find(|&&place| !field.is_near(own, from, place)) else { return };
        if square < best.square || earlier((clip, to)) {
            *best = self.best(square, Some(Bridge { from, to, clip }));
        }
    }
}

/// The squared distance of two frames. If it exceeds `most`, the result may be any value between
/// `most` and the distance.
pub(crate) fn square_distance(a: &[f32], b: &[f32], most: f32) -> f32 {
    // As many sums as fit into a register, so that the compiler uses one.
    let mut sums = [0f32; 4];
    let (fours, rest) = a.as_chunks::<4>();
    let (others, other_rest) = b.as_chunks::<4>();
    for (fours, others) in fours.chunks(PART / 4).zip(others.chunks(PART / 4)) {
        for (a, b) in fours.iter().zip(others) {
            (0..4).for_each(|i| sums[i] += (a[i] - b[i]) * (a[i] - b[i]));
        }
        let so_far = sums.iter().sum::<f32>();
        if so_far > most {
            return so_far;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().zip(other_rest).map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::{Purpose, Stream};

    /// The definition of the search: compares every pair, one after another.
    fn one_by_one(field: &Field) -> Vec<Option<Bridge>> {
        let of = |own: usize| {
            let (mut bridge, mut least, clip) = (None, field.alike, &field.clips[own]);
            for from in clip.end.saturating_sub(field.leave + 1).max(clip.start)..clip.end {
                for (clip, other) in field.clips.iter().enumerate() {
                    for to in other.start..other.end.saturating_sub(field.arrive) {
                        let square = square_distance(field.frame(from), field.frame(to), f32::INFINITY);
                        if square < least && !field.is_near(own, from, (clip, to)) {
                            (least, bridge) = (square, Some(Bridge { from, to, clip }));
                        }
                    }
                }
            }
            bridge
        };
        (0..field.clips.len()).map(of).collect()
    }

    /// Clips of `lengths` frames of `values` different numbers; many clips are copies of others.
    fn drawn(seed: u64, lengths: &[usize], frame_size: usize, values: f64) -> (Vec<f32>, Vec<Range<usize>>, Vec<u64>) {
        let stream = Stream::new(seed, Purpose::Check, 0);
        let (mut frames, mut clips, mut motions): (Vec<f32>, Vec<Range<usize>>, Vec<u64>) = Default::default();
        for (clip, &length) in lengths.iter().enumerate() {
            let start = frames.len() / frame_size;
            let copied = (clip % 3 == 2).then(|| clips[(stream.uniform(clip) * clip as f64) as usize].clone());
            let drawn = |i: usize| (stream.uniform(1000 + frames.len() + i) * values).floor() as f32;
            let rows: Vec<f32> = match copied {
                Some(clip) => frames[clip.start * frame_size..clip.end * frame_size].to_vec(),
                None => (0..length * frame_size).map(drawn).collect(),
            };
            // Clips of equal length sometimes share a motion although they differ, as mirror images
            // do.
            motions.push((rows.len() as u64) << 1 | u64::from(stream.uniform(500 + clip) < 0.5));
            frames.extend(rows);
            clips.push(start..frames.len() / frame_size);
        }
        (frames, clips, motions)
    }

    #[test]
    fn a_search_finds_what_looking_at_every_pair_finds() {
        let mut found = [0; 2];
        for seed in 0..60 {
            let lengths: Vec<usize> = (0..12).map(|i| [40, 1, 25, 60, 7, 90][(i + seed as usize) % 6]).collect();
            let (frame_size, values) = [(3, 2.0), (7, 3.0), (70, 2.0), (40, 1.0), (2, 1e4)][seed as usize % 5];
            let (frames, clips, motions) = drawn(seed, &lengths, frame_size, values);
            let (clips, motions) = (&clips[..], &motions[..]);
            let alike = 0.4 * frame_size as f32 * (values as f32 * values as f32).min(9.0);
            let field = Field { frames: &frames, frame_size, clips, motions, leave: 5, arrive: 7, alike };
            let bridges = field.search(1 + seed as usize % 3, |_| ());
            assert_eq!(bridges, one_by_one(&field), "seed {seed}");
            bridges.iter().for_each(|bridge| found[usize::from(bridge.is_some())] += 1);
        }
        assert!(found.iter().all(|&count| count > 50), "{found:?}");
    }

    #[test]
    fn numbers_that_are_not_finite_or_huge_are_compared_as_ever() {
        let (mut frames, clips, motions) = drawn(3, &[50; 9], 5, 40.0);
        for (place, x) in [(11, f32::NAN), (700, f32::INFINITY), (1001, f32::MAX), (1301, -1e30), (1806, 1e30)] {
            frames[place] = x;
        }
        let field =
            Field { frames: &frames, frame_size: 5, clips: &clips, motions: &motions, leave: 5, arrive: 7, alike: 1e3 };
        assert_eq!(field.search(2, |_| ()), one_by_one(&field));
    }

    #[test]
    fn copies_and_standing_still_are_no_more_to_look_at() {
        let (frame_size, count) = (4, 400);
        let still: Vec<f32> = [0.5; 4].repeat(count * 50);
        let clips: Vec<Range<usize>> = (0..count).map(|clip| clip * 50..(clip + 1) * 50 - clip % 9).collect();
        let motions: Vec<u64> = clips.iter().map(|clip| clip.len() as u64).collect();
        let field =
            Field { frames: &still, frame_size, clips: &clips, motions: &motions, leave: 5, arrive: 7, alike: 1.0 };
        let own: Vec<usize> = (0..count).filter(|&clip| field.firsts()[clip] == clip).collect();
        assert_eq!(own.len(), 9, "clips of nine lengths");
        let search = Search::new(&field, &own, 1);
        assert_eq!(
            (search.tree.leaves.len(), search.tree.rows.len()),
            (1, frame_size),
            "one point for all equal frames"
        );
        assert_eq!(field.search(2, |_| ()), one_by_one(&field));
    }
}
