//! The networks: [`layout`] lists their parameters, `variants` their operations, which [`network`]
//! appends to plans; `bounds` says which sizes they may have.
mod bounds;
pub mod layout;
pub mod network;
mod variants;
