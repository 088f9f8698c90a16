//! Exchange with other programs: motion that they recorded ([`import`]), motion ([`export`]) and
//! characters ([`ship`]) for them.
pub mod export;
pub mod import;
pub mod ship;
