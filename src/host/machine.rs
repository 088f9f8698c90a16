//! The machine that this process runs on.
use super::files;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

/// The machine's name, for people.
pub(super) static NAME: LazyLock<String> = LazyLock::new(|| {
    let name = word("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok());
    name.unwrap_or_else(|| "this machine".to_owned())
});

/// A name that no other machine has, and that changes when the machine starts anew.
pub(super) static ID: LazyLock<String> =
    LazyLock::new(|| word("/proc/sys/kernel/random/boot_id").unwrap_or_else(|| NAME.clone()));

/// A number made of [`ID`].
pub(super) static TAG: LazyLock<u32> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    ID.hash(&mut hasher);
    hasher.finish() as u32
});

/// The text of a file of the system.
fn word(file: &str) -> Option<String> {
    files::text(file.as_ref(), 1 << 10).map(|text| text.trim().to_owned()).ok()
}
