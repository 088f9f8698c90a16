//! The program as its users run it.
mod bounds;
mod character;
mod composed;
mod control;
mod eval;
mod foreign;
mod generate;
mod plan;
mod planner;
mod population;
mod program;
mod ship;
mod steering;
mod surroundings;
mod sweep;
mod train;

#[path = "../shared/hostile.rs"]
mod hostile;
#[path = "../shared/small.rs"]
mod small;
#[path = "../shared/steps.rs"]
mod steps;
