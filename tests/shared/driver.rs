//! A CUDA driver whose device is this machine (tests/driver/driver.cpp). It runs kernels that were
//! compiled for the host, or the images that the program ships, by an interpreter of PTX
//! (tests/driver/ptx).
use mvae_fast::backend::cuda;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// True if the tested program has kernels for a GPU; without nvcc it refuses before it looks for a
/// driver.
pub fn has_kernels() -> bool {
    let found = cuda::BUILT;
    if !found {
        println!("driver: skipped, no nvcc");
    }
    found
}

/// The folder of the driver, compiled once.
pub fn driver() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let (folder, root) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")));
        let library = folder.path().join("libcuda.so.1");
        let flags = "-std=c++17 -O2 -ffp-contract=off -U_FORTIFY_SOURCE -w -shared -fPIC -Wl,-Bsymbolic -Wl,-z,defs";
        let mut compiler = Command::new(std::env::var_os("CXX").unwrap_or("c++".into()));
        compiler.args(flags.split(' ')).arg("-I").arg(root.join("kernels")).arg("-I").arg(env!("OUT_DIR"));
        let done =
            compiler.arg(root.join("tests/driver/driver.cpp")).arg("-o").arg(&library).arg("-ldl").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::copy(&library, folder.path().join("libcuda.so")).unwrap();
        folder
    };
    FOLDER.get_or_init(make).path()
}

/// The interpreter, which cargo builds beside the tests.
pub fn interpreter() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libptx.so")
}

/// Runs tests of a GPU on the images. Returns what they say, and whether they passed.
pub fn on_images(tests: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(tests).args(["--nocapture", "--test-threads", "1"]).envs(environment.iter().copied());
    let output = command.env("LD_LIBRARY_PATH", driver()).env("PTX", interpreter()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("running ") && !said.contains("running 0 tests") && !said.contains("skipped"), "{said}");
    (output.status.success(), said)
}

/// Runs tests of a GPU on the images, and fails if one does.
pub fn passes(tests: &[&str], environment: &[(&str, &str)]) {
    let (passed, said) = on_images(tests, environment);
    assert!(passed, "{said}");
}
