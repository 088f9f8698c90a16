//! Tells the crate which commit it was built from (`MVAE_GIT_COMMIT`), when it is built inside a git checkout, and with the
//! feature `simt` compiles the kernels for the host.
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Some(commit) = git.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok())
    {
        println!("cargo::rustc-env=MVAE_GIT_COMMIT={}", commit.trim());
    }
    #[cfg(feature = "simt")]
    simt::compile();
}

/// The kernels as C++ of this machine, and the table by which `src/backend/simt.rs` finds them.
#[cfg(feature = "simt")]
mod simt {
    use std::fmt::Write;
    use std::path::Path;
    use std::{env, fs};

    /// Kernels, and those with planted mistakes that show that the backend finds them.
    const FOLDERS: [&str; 2] = ["kernels", "tests/planted"];

    pub fn compile() {
        let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        let out = env::var("OUT_DIR").expect("cargo sets it");
        let (mut unity, mut declarations, mut arms) = (String::new(), String::new(), String::new());
        for folder in FOLDERS {
            println!("cargo::rerun-if-changed={folder}");
            let Ok(files) = fs::read_dir(Path::new(&root).join(folder)) else {
                continue; // the published crate has no tests
            };
            let mut files: Vec<_> = files.map(|file| file.expect("a readable folder").path()).collect();
            files.sort();
            for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "cu")) {
                writeln!(unity, "#include \"{}\"", file.display()).expect("strings grow");
                let text = fs::read_to_string(file).expect("a readable kernel");
                let calls = text.lines().filter_map(|l| l.strip_prefix("KERNEL(").or(l.strip_prefix("GRID_KERNEL(")));
                for name in calls.filter_map(|call| call.split(',').next()) {
                    let function =
                        format!("fn {name}_kernel(arguments: *const u8, at: *const Where, shared: *mut u8);");
                    writeln!(declarations, "    {function}\n    static {name}_layout: [u64; 4];")
                        .expect("strings grow");
                    let kernel = format!("Kernel {{ run: {name}_kernel, layout: unsafe {{ &{name}_layout }} }}");
                    writeln!(arms, "        \"{name}\" => {kernel},").expect("strings grow");
                }
            }
        }
        let table = format!(
            "#[allow(non_upper_case_globals)]\nunsafe extern \"C\" {{\n{declarations}}}\n\
             fn find(name: &str) -> Option<Kernel> {{\n    Some(match name {{\n{arms}        _ => return None,\n    }})\n}}\n"
        );
        fs::write(Path::new(&out).join("simt_kernels.rs"), table).expect("a writable build folder");
        let source = Path::new(&out).join("simt.cpp");
        fs::write(&source, unity).expect("a writable build folder");
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(2).debug(false).warnings(true).include(Path::new(&root).join("kernels"));
        build.flag_if_supported("-ffp-contract=off").file(source);
        if cfg!(feature = "simt-asan") {
            build.flag("-fsanitize=address").flag("-fno-omit-frame-pointer").debug(true);
            println!("cargo::rustc-link-lib=dylib=asan");
        }
        build.compile("mvae_simt");
    }
}
