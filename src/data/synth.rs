//! Procedural locomotion.
