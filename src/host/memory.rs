//! The memory that is still available, so that work that needs more is refused before it starts.
use crate::{Error, Result, host::files};
use std::path::{Path, PathBuf};

/// Available bytes: the machine's free memory with swap, or less where a control group or a limit
/// of the process (`ulimit -v`) is lower. `None` where the system does not tell.
pub(crate) fn available() -> Option<u64> {
    let system = |name: &str| text(&Path::new("/proc").join(name));
    let (status, limits, groups) = (system("self/status"), system("self/limits"), system("self/cgroup"));
    let meminfo = system("meminfo");
    let swap = line(&meminfo, "SwapFree:").unwrap_or(0);
    let machine = line(&meminfo, "MemAvailable:").map(|kib| (kib + swap) << 10);
    let limit =
        line(&limits, "Max address space").map(|most| most.saturating_sub(line(&status, "VmSize:").unwrap_or(0) << 10));
    [machine, limit, free_in_groups(&groups, Path::new("/sys/fs/cgroup"))].into_iter().flatten().min()
}

/// Refuses work that needs more memory than is available. `refuse` makes the error from words such
/// as "4.1 GB of memory, and 2.0 GB are free".
pub(crate) fn require(bytes: u64, refuse: impl FnOnce(String) -> Error) -> Result<()> {
    match available() {
        Some(free) if bytes > free => Err(refuse(format!("{} of memory, and {} are free", said(bytes), said(free)))),
        _ => Ok(()),
    }
}

/// A number of bytes in words, such as `4.1 GB`.
pub fn said(bytes: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 {
        (size, unit) = (size / 1000.0, unit + 1);
    }
    let digits = if unit == 0 || size >= 100.0 { 0 } else { 1 };
    format!("{size:.digits$} {}", units[unit])
}

/// The text of a system file; empty if it cannot be read.
fn text(path: &Path) -> String {
    files::text(path, 1 << 20).unwrap_or_default()
}

/// The number after these words at the beginning of a line.
fn line(text: &str, words: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(words))?.split_whitespace().next()?.parse().ok()
}

/// Bytes free in the control groups of `/proc/self/cgroup` and in their parents, where they have a
/// limit. Both versions of control groups are mounted below `root`. The page cache of files counts
/// as free.
fn free_in_groups(groups: &str, root: &Path) -> Option<u64> {
    let free = |folder: &Path, [most, used]: [&str; 2], files: [&str; 2]| {
        let number = |name: &str| text(&folder.join(name)).trim().parse::<u64>().ok();
        let stat = text(&folder.join("memory.stat"));
        let cached = files.iter().filter_map(|name| line(&stat, name)).sum();
        let used = number(used)?.saturating_sub(cached);
        Some(number(most)?.saturating_sub(used))
    };
    let within = |group: &str, mount: PathBuf| {
        let folder = mount.join(group.trim_start_matches('/'));
        folder.ancestors().take_while(|folder| folder.starts_with(&mount)).map(Path::to_owned).collect::<Vec<_>>()
    };
    let all = groups.lines().flat_map(|group| {
        let mut parts = group.splitn(3, ':').skip(1);
        let (kinds, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let (mount, names, files) = match kinds {
            "" => (root.to_owned(), ["memory.max", "memory.current"], ["inactive_file", "active_file"]),
            _ => (
                root.join("memory"),
                ["memory.limit_in_bytes", "memory.usage_in_bytes"],
                ["total_inactive_file", "total_active_file"],
            ),
        };
        let of_memory = kinds.is_empty() || kinds.split(',').any(|kind| kind == "memory");
        let folders = if of_memory { within(path, mount) } else { Vec::new() };
        folders.into_iter().filter_map(move |folder| free(&folder, names, files))
    });
    all.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_tightest_group_says_what_is_free() {
        let root = tempfile::tempdir().unwrap();
        let put = |folder: &str, files: &[(&str, &str)]| {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
        };
        assert_eq!(free_in_groups("0::/a/b\n", root.path()), None);
        put("a/b", &[("memory.max", "max\n"), ("memory.current", "5\n")]);
        assert_eq!(free_in_groups("0::/a/b\n", root.path()), None);
        put(
            "a",
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "900\n"),
                ("memory.stat", "anon 1\ninactive_file 200\nactive_file 100\n"),
            ],
        );
        assert_eq!(free_in_groups("0::/a/b\n", root.path()), Some(400));
        put("memory/c", &[("memory.limit_in_bytes", "50"), ("memory.usage_in_bytes", "20")]);
        assert_eq!(free_in_groups("3:cpu:/c\n4:memory:/c\n0::/a/b\n", root.path()), Some(30));
    }

    #[test]
    fn sizes_are_said_in_three_digits_at_most() {
        let said = [7, 999, 1000, 4_100_000_000, 123_456_789].map(said);
        assert_eq!(said, ["7 bytes", "999 bytes", "1.0 kB", "4.1 GB", "123 MB"]);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        // A system that does not tell its free memory refuses nothing.
        if available().is_none() {
            return require(u64::MAX, Error::Usage).unwrap();
        }
        let error = require(u64::MAX, |words| Error::Usage(format!("it takes {words}"))).unwrap_err();
        assert!(error.to_string().contains("it takes 18.4 EB of memory, and"), "{error}");
        require(1, Error::Usage).unwrap();
    }
}
