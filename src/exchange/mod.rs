//! Motion between programs: [`import`] makes a set of files of motion, [`export`] writes motion as
//! BVH or glTF.
pub mod export;
pub mod import;
