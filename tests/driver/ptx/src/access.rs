//! Loads and stores, as their names say.
use crate::registers::File;

/// A memory, as instructions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Parameters of the kernel.
    Parameter,
    /// Of the block.
    Shared,
    /// Of the thread.
    Local,
    /// Of the device; also what no name is given for, as no kernel makes a general address of
    /// another space.
    Global,
}

/// The order that a load or store keeps with what other threads do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Of memory that nobody writes.
    Constant,
    /// None.
    Weak,
    /// Single, but without order.
    Relaxed,
    /// Sees what happened before the release that it reads.
    Acquire,
    /// Shows what happened before it.
    Release,
}

/// A load or a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The memory.
    pub space: Space,
    /// Bytes of a number.
    pub bytes: u8,
    /// Number of neighbours.
    pub count: u8,
    /// The kind of register of each, which may be wider than the number.
    pub file: File,
    /// True if a number keeps its sign in a wider register.
    pub signed: bool,
    /// The order.
    pub order: Order,
    /// The kind of register of the address.
    pub address: File,
}

/// The load or store of these parts of a name.
pub fn find(parts: &[&str], address: File) -> Option<Access> {
    let (kind, parts) = parts.split_last()?;
    let mut access = Access {
        space: Space::Global,
        bytes: 0,
        count: 1,
        file: File::Word,
        signed: kind.starts_with('s'),
        order: Order::Weak,
        address,
    };
    for part in parts {
        match *part {
            "global" => access.space = Space::Global,
            "shared" => access.space = Space::Shared,
            "param" => access.space = Space::Parameter,
            "local" => access.space = Space::Local,
            "v2" => access.count = 2,
            "v4" => access.count = 4,
            "nc" => access.order = Order::Constant,
            "weak" | "gpu" => {}
            "relaxed" => access.order = Order::Relaxed,
            "acquire" => access.order = Order::Acquire,
            "release" => access.order = Order::Release,
            _ => return None,
        }
    }
    (access.bytes, access.file) = match *kind {
        "u8" | "b8" => (1, File::Word),
        "u16" | "b16" => (2, File::Word),
        "u32" | "s32" | "b32" | "f32" => (4, File::Word),
        "u64" | "s64" | "b64" | "f64" => (8, File::Double),
        _ => return None,
    };
    Some(access)
}
