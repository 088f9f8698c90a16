//! Tells the crate which commit it was built from (`MVAE_GIT_COMMIT`), when it is built inside a git checkout; compiles the
//! kernels to PTX when there is an nvcc; and with the feature `simt` compiles them for the host.
//!
//! nvcc is `$NVCC`, or in `$CUDA_HOME/bin`, `$CUDA_PATH/bin`, on the PATH, or where Python packages put it
//! (`site-packages/nvidia/cu13/bin`). `NVCC=` (empty) means none. No GPU is looked for.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Architectures that kernels are compiled for, each with its file: the lowest that is served, and the first one on which
/// launches may start early.
const IMAGES: [(&str, &str); 2] = [("compute_80", "kernels.ptx"), ("compute_90", "kernels_90.ptx")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Some(commit) = git.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok())
    {
        println!("cargo::rustc-env=MVAE_GIT_COMMIT={}", commit.trim());
    }
    println!("cargo::rerun-if-changed=kernels");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    compile_for_gpus(&root.join("kernels"), &out);
    #[cfg(feature = "simt")]
    simt::compile(&root, &out);
}

/// The kernels of a folder; none where there is no folder.
fn kernels(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).map(|files| files.map(|file| file.expect("a readable folder").path()));
    let mut files: Vec<_> = files.into_iter().flatten().collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cu"));
    files.sort();
    files
}

/// A source that holds them all.
fn includes(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("#include \"{}\"\n", file.display())).collect()
}

/// Writes the images, empty without nvcc. A kernel that does not compile fails the build.
fn compile_for_gpus(kernels: &Path, out: &Path) {
    let source = out.join("kernels.cu");
    let Some(nvcc) = find_nvcc() else {
        return IMAGES.iter().for_each(|(_, ptx)| fs::write(out.join(ptx), "").expect("a writable build folder"));
    };
    println!("cargo::rerun-if-changed={}", nvcc.display());
    fs::write(&source, includes(&self::kernels(kernels))).expect("a writable build folder");
    for (architecture, ptx) in IMAGES {
        let mut command = Command::new(&nvcc);
        command
            .args(["-ptx", "-std=c++17", "-O3", "-arch", architecture, "-Werror", "all-warnings", "-I"])
            .arg(kernels);
        match command.arg(&source).arg("-o").arg(out.join(ptx)).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                panic!("{} failed; NVCC= builds without it:\n{}", nvcc.display(), String::from_utf8_lossy(&text));
            }
            Err(error) => panic!("{} does not run: {error}; NVCC= builds without it", nvcc.display()),
        }
    }
    let ptxas = nvcc.with_file_name("ptxas");
    if ptxas.is_file() {
        println!("cargo::rustc-env=MVAE_PTXAS={}", ptxas.display());
    }
}

fn find_nvcc() -> Option<PathBuf> {
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", "VIRTUAL_ENV"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Some(nvcc) = env::var_os("NVCC") {
        return Some(nvcc).filter(|nvcc| !nvcc.is_empty()).map(PathBuf::from);
    }
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).map(|home| home.join("bin"));
    let path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    toolkits.chain(path).chain(python_folders()).map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file())
}

/// Where a Python environment that is active has the toolkit's programs.
fn python_folders() -> Vec<PathBuf> {
    let script = "import site; print('\\n'.join(site.getsitepackages() + [site.getusersitepackages()]))";
    let sites = Command::new("python3").args(["-c", script]).output().ok().filter(|output| output.status.success());
    let text = sites.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.lines().map(|site| Path::new(site).join("nvidia/cu13/bin")).collect()
}

/// The kernels as C++ of this machine, and the table by which `src/backend/simt.rs` finds them.
#[cfg(feature = "simt")]
mod simt {
    use super::*;
    use std::fmt::Write;

    /// Kernels, and those with planted mistakes that show that the backend finds them; the published crate has no tests.
    const FOLDERS: [&str; 2] = ["kernels", "tests/planted"];

    /// The kernel that a line makes.
    fn kernel_name(line: &str) -> Option<String> {
        if let Some(rest) = line.strip_prefix("VARIANT(") {
            let mut words = rest.split(", ");
            return Some(format!("{}_{}", words.next()?, words.next()?));
        }
        let rest = line.strip_prefix("KERNEL(").or(line.strip_prefix("GRID_KERNEL("))?;
        rest.split(',').next().map(str::to_owned)
    }

    pub fn compile(root: &Path, out: &Path) {
        println!("cargo::rerun-if-changed=tests/planted");
        let files: Vec<PathBuf> = FOLDERS.iter().flat_map(|folder| kernels(&root.join(folder))).collect();
        let (mut declarations, mut arms) = (String::new(), String::new());
        for file in &files {
            let text = fs::read_to_string(file).expect("a readable kernel");
            for name in text.lines().filter_map(kernel_name) {
                let function = format!("fn {name}_kernel(arguments: *const u8, at: *const Where, shared: *mut u8);");
                writeln!(declarations, "    {function}\n    static {name}_layout: [u64; 4];").expect("strings grow");
                let kernel = format!("Kernel {{ run: {name}_kernel, layout: unsafe {{ &{name}_layout }} }}");
                writeln!(arms, "        \"{name}\" => {kernel},").expect("strings grow");
            }
        }
        let table = format!(
            "#[allow(non_upper_case_globals)]\nunsafe extern \"C\" {{\n{declarations}}}\n\
             fn find(name: &str) -> Option<Kernel> {{\n    Some(match name {{\n{arms}        _ => return None,\n    }})\n}}\n"
        );
        fs::write(out.join("simt_kernels.rs"), table).expect("a writable build folder");
        let source = out.join("simt.cpp");
        fs::write(&source, includes(&files)).expect("a writable build folder");
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(2).debug(false).warnings(true).include(root.join("kernels"));
        build.flag_if_supported("-ffp-contract=off").file(source);
        if cfg!(feature = "simt-asan") {
            build.flag("-fsanitize=address").flag("-fno-omit-frame-pointer").debug(true);
            println!("cargo::rustc-link-lib=dylib=asan");
        }
        build.compile("mvae_simt");
    }
}
