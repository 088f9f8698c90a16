//! Tells the crate which commit it was built from (`MVAE_GIT_COMMIT`), when it is built inside a git checkout; compiles the
//! kernels to PTX when there is an nvcc; and with the feature `simt` compiles them for the host.
//!
//! nvcc is `$NVCC`, or in `$CUDA_HOME/bin`, `$CUDA_PATH/bin`, on the PATH, or where Python packages put it
//! (`site-packages/nvidia/cu13/bin`). `NVCC=` (empty) means none. No GPU is looked for.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Images for GPUs, each with its architecture and file: all kernels for the lowest architecture that is served, and for the first
/// one on which launches may start early; and apart from them, as it takes long to compile, the kernel that runs them all.
const IMAGES: [(&str, &str, &[&str]); 3] = [
    ("compute_80", "kernels.ptx", &["-DNO_GRID_KERNELS"]),
    ("compute_90", "kernels_90.ptx", &["-DNO_GRID_KERNELS"]),
    ("compute_80", "run_plan.ptx", &["-DONLY_GRID_KERNELS"]),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    // A copy without a history has no commit, nor has one inside somebody else's history.
    if Path::new(".git").exists() {
        if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
            println!("cargo::rustc-env=MVAE_GIT_COMMIT={commit}");
        }
        // A path that is not there would have every build start here again.
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
            println!("cargo::rerun-if-changed={log}");
        }
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let files = kernels(&root.join("kernels"));
    fs::write(out.join("kernels.cu"), unity(&files)).expect("a writable build folder");
    fs::write(out.join("kernel_numbers.rs"), numbers(&files)).expect("a writable build folder");
    compile_for_gpus(&root.join("kernels"), &out);
    #[cfg(feature = "simt")]
    simt::compile(&root, &out, &files);
}

/// What git says, on one line.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The kernels of a folder, the one that runs all others last; none where there is no folder.
fn kernels(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).map(|files| files.map(|file| file.expect("a readable folder").path()));
    let mut files: Vec<_> = files.into_iter().flatten().collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cu"));
    files.sort_by_key(|file| (runs_others(file), file.clone()));
    files
}

fn runs_others(file: &Path) -> bool {
    file.ends_with("run_plan.cu")
}

/// What a line says that makes a kernel: `KERNEL(name, Args, Shared, most)`, or `VARIANT(name, precision, Args, ...)`.
struct Made {
    name: String,
    precision: Option<String>,
    args: String,
    shared: String,
}

/// The kernels that a file makes.
fn made(file: &Path) -> Vec<Made> {
    let text = fs::read_to_string(file).expect("a readable kernel");
    let of_line = |line: &str| {
        let (kind, rest) = line.split_once('(')?;
        let mut words = rest.split([',', ')']).map(|word| word.trim().to_owned());
        let name = words.next()?;
        let precision = match kind {
            "KERNEL" | "GRID_KERNEL" => None,
            "VARIANT" | "GRID_VARIANT" => Some(words.next()?),
            _ => return None,
        };
        Some(Made { name, precision, args: words.next()?, shared: words.next()? })
    };
    text.lines().filter_map(of_line).collect()
}

/// The kernels that `run_plan` can run, by name: the place of one is its number.
fn numbered(files: &[PathBuf]) -> Vec<Made> {
    let mut all: Vec<Made> = files.iter().filter(|file| !runs_others(file)).flat_map(|file| made(file)).collect();
    all.sort_by_key(|kernel| kernel.name.clone());
    all
}

/// A source that holds all kernels.
fn unity(files: &[PathBuf]) -> String {
    let (all, include) = (numbered(files), |file: &PathBuf| format!("#include \"{}\"\n", file.display()));
    let list = |precision: Option<&str>| {
        let mut list = String::new();
        for (number, kernel) in all.iter().filter(|kernel| kernel.precision.is_none()).enumerate() {
            let variant = |k: &&Made| k.name == kernel.name && k.precision.as_deref() == precision;
            let Made { name, args, shared, .. } = all.iter().find(variant).unwrap_or(kernel);
            list += &format!(" CALL({number}, {name}, {args}, {shared})");
        }
        list
    };
    let (others, last): (Vec<_>, Vec<_>) = files.iter().partition(|file| !runs_others(file));
    let lists = format!("#define KERNELS(CALL){}\n#define KERNELS_bf16x3(CALL){}\n", list(None), list(Some("bf16x3")));
    others.into_iter().map(include).chain([lists]).chain(last.into_iter().map(include)).collect()
}

/// Their names, for Rust.
fn numbers(files: &[PathBuf]) -> String {
    let names = numbered(files).into_iter().filter(|kernel| kernel.precision.is_none()).map(|kernel| kernel.name);
    format!("&{:?}\n", names.collect::<Vec<_>>())
}

/// Writes the images, empty without nvcc; those that were made from the same before, which a new commit does not change,
/// stay. A kernel that does not compile fails the build.
fn compile_for_gpus(kernels: &Path, out: &Path) {
    let Some(nvcc) = find_nvcc() else {
        return IMAGES.iter().for_each(|(_, ptx, _)| fs::write(out.join(ptx), "").expect("a writable build folder"));
    };
    println!("cargo::rerun-if-changed={}", nvcc.display());
    let sources = sources(kernels, &nvcc);
    for (architecture, ptx, flags) in IMAGES {
        let mut command = Command::new(&nvcc);
        command
            .args(["-ptx", "-std=c++17", "-O3", "-arch", architecture, "-Werror", "all-warnings"])
            .args(flags)
            .arg("-I")
            .arg(kernels)
            .arg(out.join("kernels.cu"))
            .arg("-o")
            .arg(out.join(ptx));
        let (note, from) = (out.join(ptx).with_extension("from"), format!("{command:?}\n{sources}"));
        let there = fs::metadata(out.join(ptx)).is_ok_and(|image| image.len() > 0);
        if there && fs::read_to_string(&note).is_ok_and(|before| before == from) {
            continue;
        }
        let _ = fs::remove_file(&note);
        match command.output() {
            Ok(output) if output.status.success() => fs::write(note, from).expect("a writable build folder"),
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

/// All that an image depends on but the command: which nvcc, and the text of the folder.
fn sources(kernels: &Path, nvcc: &Path) -> String {
    let mut files: Vec<_> =
        fs::read_dir(kernels).into_iter().flatten().map(|file| file.expect("readable").path()).collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("a readable kernel"));
    let compiler = fs::metadata(nvcc).and_then(|nvcc| nvcc.modified());
    format!("{compiler:?}\n") + &texts.collect::<String>()
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

    pub fn compile(root: &Path, out: &Path, files: &[PathBuf]) {
        // Kernels with planted mistakes, which show that the backend finds them; the published crate has no tests.
        println!("cargo::rerun-if-changed=tests/planted");
        let planted = kernels(&root.join("tests/planted"));
        let (mut declarations, mut arms) = (String::new(), String::new());
        for Made { mut name, precision, args, .. } in files.iter().chain(&planted).flat_map(|file| made(file)) {
            if let Some(precision) = precision {
                name = format!("{name}_{precision}");
            }
            let function = format!("fn {name}_kernel(arguments: *const u8, at: *const Where, shared: *mut u8);");
            writeln!(declarations, "    {function}\n    static {name}_layout: [u64; 4];").expect("strings grow");
            let layout = format!("layout: unsafe {{ &{name}_layout }}, arguments: \"{args}\"");
            let kernel = format!("Kernel {{ run: {name}_kernel, {layout} }}");
            writeln!(arms, "        \"{name}\" => {kernel},").expect("strings grow");
        }
        let (mut structs, mut offsets) = (String::new(), String::from("#include <cstddef>\nextern \"C\" {\n"));
        for (name, fields) in ["kernels", "tests/planted"].iter().flat_map(|folder| mirrored(&root.join(folder))) {
            let list = format!("{name}_fields[{}][2]", fields.len());
            let places = fields.iter().map(|field| format!("{{offsetof({name}, {field}), sizeof({name}::{field})}}"));
            let places = places.collect::<Vec<_>>().join(", ");
            writeln!(offsets, "extern const u64 {list};\nconst u64 {list} = {{{places}}};").expect("strings grow");
            writeln!(declarations, "    static {name}_fields: [[u64; 2]; {}];", fields.len()).expect("strings grow");
            writeln!(structs, "    (\"{name}\", &{fields:?}, || unsafe {{ &{name}_fields }}),").expect("strings grow");
        }
        offsets += "}\n";
        let table = format!(
            "#[allow(non_upper_case_globals)]\nunsafe extern \"C\" {{\n{declarations}}}\n\
             fn find(name: &str) -> Option<Kernel> {{\n    Some(match name {{\n{arms}        _ => return None,\n    }})\n}}\n\
             type Struct = (&'static str, &'static [&'static str], fn() -> &'static [[u64; 2]]);\n\
             const STRUCTS: &[Struct] = &[\n{structs}];\n"
        );
        fs::write(out.join("simt_kernels.rs"), table).expect("a writable build folder");
        let source = out.join("simt.cpp");
        let text =
            unity(files) + &planted.iter().map(|file| format!("#include \"{}\"\n", file.display())).collect::<String>();
        fs::write(&source, text + &offsets).expect("a writable build folder");
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(2).debug(false).warnings(true).include(root.join("kernels"));
        build.flag_if_supported("-ffp-contract=off").file(source);
        if cfg!(feature = "simt-asan") {
            build.flag("-fsanitize=address").flag("-fno-omit-frame-pointer").debug(true);
            println!("cargo::rustc-link-lib=dylib=asan");
        }
        build.compile("mvae_simt");
    }

    /// The structs of a folder that Rust has, too, field for field, and the names of their fields.
    fn mirrored(folder: &Path) -> Vec<(String, Vec<String>)> {
        let files = fs::read_dir(folder).into_iter().flatten().map(|file| file.expect("a readable folder").path());
        let texts = files.map(|file| fs::read_to_string(file).expect("a readable kernel"));
        let mut all: Vec<_> = texts.flat_map(|text| structs(&text)).collect();
        all.sort();
        all
    }

    fn structs(text: &str) -> Vec<(String, Vec<String>)> {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let of_text = |text: &str| {
            let (name, rest) = text.split_once(" {")?;
            let (comment, rest) = rest.split_once('\n')?;
            let code = rest.split_once("\n};")?.0.lines().map(|line| line.split("//").next().unwrap_or_default());
            let code = code.collect::<Vec<_>>().join(" ");
            // What stands last before a comma or the end of a declaration, without the numbers of an array.
            let names = code.split([',', ';']).map(|one| one.split('[').next().unwrap_or_default().trim());
            let names = names.filter(|one| !one.is_empty()).map(|one| one.rsplit(|c| !is_name(c)).next());
            let names = names.flatten().map(str::to_owned).collect();
            comment.contains("// field for field").then(|| (name.to_owned(), names))
        };
        text.split("\nstruct ").skip(1).filter_map(of_text).collect()
    }
}
