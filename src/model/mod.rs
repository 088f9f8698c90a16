//! The networks: [`layout`] lists their parameters, [`network`] their operations.
pub mod layout;
pub mod network;
