//! The program of a composed task: how its commands are drawn, what is seen, and the terms of the
//! reward. Definition and kernels read the same numbers.
use bytemuck::{Pod, Zeroable};

/// Most pairs that are seen, and most terms of a reward.
pub(crate) const MOST: usize = super::pull::Seen::MOST;
/// Numbers of a character that are drawn: its goal, direction, speed, facing, and point to look at.
pub const DRAWN: usize = 7;

/// A program as kernels see it. Lengths are in body units, speeds in shares of the largest one,
/// angles in radians.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
pub struct Program {
    /// How a character's first own numbers are drawn.
    pub drawn: [Drawn; DRAWN],
    /// Angle by which the direction turns in a step.
    pub turn: f64,
    /// Distance at which a leader starts.
    pub ahead: f64,
    /// Number of the goal's [`Moves`].
    pub goal: u32,
    /// Number of pairs that are seen.
    pub sights: u32,
    /// Number of terms.
    pub terms: u32,
    /// Keeps the length a multiple of 8.
    pub pad: u32,
    /// The pairs that are seen.
    pub sight: [Sight; MOST],
    /// The terms of the reward.
    pub term: [Term; MOST],
}

/// The draw of a number: `from` plus a share of `span`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
pub struct Drawn {
    /// The least number.
    pub from: f64,
    /// The largest number less the least.
    pub span: f64,
    /// Number of different numbers, spread evenly; 0: all between.
    pub levels: u32,
    /// It is drawn anew with each so many changes of the task; 0: at the start alone.
    pub every: u32,
    /// 1 + the place of its random number; 0: it is always `from`.
    pub slot: u32,
    /// Keeps the length a multiple of 8.
    pub pad: u32,
}

/// A pair that is seen.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
pub struct Sight {
    /// Number of the [`Sees`].
    pub kind: u32,
    /// Steps by which a point of the path is ahead of the goal.
    pub ahead: u32,
}

/// A term of the reward.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
pub struct Term {
    /// Factor of its shape.
    pub weight: f64,
    /// Value that is asked for, which is taken off.
    pub at: f64,
    /// Number of the [`Value`].
    pub kind: u32,
    /// Number of the [`Shape`].
    pub shape: u32,
}

/// Makes an enum whose variants have names in a file, and numbers in a program.
macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// All of them, by number.
            pub const ALL: &[$name] = &[$($name::$variant),*];
            /// Their names in a file.
            pub const NAMES: &[&str] = &[$($text),*];

            /// Its name in a file.
            pub fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

named! {
    /// How the goal moves.
    Moves {
        /// It stays where it was drawn.
        Still "still",
        /// It goes in the direction and at the speed that are asked for.
        Leader "leader",
        /// It runs along the path.
        Path "path",
    }
}

named! {
    /// A pair that a character sees, in its own frame.
    Sees {
        /// The way to the goal.
        Goal "goal",
        /// The direction of the goal.
        Bearing "bearing",
        /// The way to the point to look at.
        Look "look",
        /// The direction that is asked for.
        Direction "direction",
        /// The facing that is asked for.
        Facing "facing",
        /// Direction times speed.
        Velocity "velocity",
        /// The speed that is asked for, along the character's own facing.
        Speed "speed",
        /// The way to a point of the path.
        Path "path",
    }
}

named! {
    /// The value of a term.
    Value {
        /// Distance from the goal less the one that is asked for, body units.
        Distance "distance",
        /// Distance from the goal before the step less that after it, body units.
        Progress "progress",
        /// 1 - cosine of the angle at which the goal is seen.
        Bearing "bearing",
        /// 1 - cosine of the angle at which the point to look at is seen.
        Look "look",
        /// 1 - cosine of the angle at which the direction is seen.
        Heading "heading",
        /// 1 - cosine of the angle at which the facing that is asked for is seen.
        Facing "facing",
        /// The speed that is asked for less that of the root, shares of the largest.
        Speed "speed",
        /// Length of the root's velocity less the one that is asked for, shares of the largest.
        Velocity "velocity",
        /// Speed of the root, shares of the largest.
        Still "still",
        /// Minus the energy.
        Effort "effort",
        /// Slide of the feet, body units.
        Feet "feet",
    }
}

named! {
    /// The share of a value x in the reward, with the weight w.
    Shape {
        /// w x.
        Linear "linear",
        /// -w |x|.
        Abs "abs",
        /// -w x^2.
        Square "square",
        /// All such terms together add e to the power of -sum w |x|.
        Exp "exp",
    }
}
