//! Parse, run, print the error on one line, exit code; nothing else.
fn main() {}
