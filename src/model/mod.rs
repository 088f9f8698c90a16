//! The networks: [`layout`] lists their parameters, [`network`] their operations; `bounds` says
//! which sizes they may have.
mod bounds;
pub mod layout;
pub mod network;
