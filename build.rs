//! Build script with three tasks. Inside a git checkout it tells the crate its commit
//! (`MVAE_GIT_COMMIT`). If there is an nvcc, it compiles the kernels for GPUs. With the feature
//! `simt` it compiles them for the host.
//!
//! nvcc is `$NVCC`, or in `$CUDA_HOME/bin`, `$CUDA_PATH/bin`, on the PATH, or where Python packages
//! put it (`site-packages/nvidia/cu13/bin`). `NVCC=` (empty) means none. The build looks for no
//! GPU.
//!
//! Any device can take PTX, which its driver compiles. Machine code takes a processor two minutes
//! to make. A release build makes it for the devices of [`READY`]; `$MVAE_CUBINS` lists others (`80
//! 90a`; empty: none).
use flate2::{Compression, write::ZlibEncoder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

/// The PTX images: module, lowest architecture that it serves, and which kernels it holds (`MAKE`
/// in `kernels/simt.cuh`). Launches may start early from 9.0 on. The kernels that run all others,
/// one a precision, take long to compile, so they come first.
const PTX: [(&str, u32, &str); 4] = [
    ("run_plan_bf16x3", 80, "-DMAKE=4"),
    ("run_plan", 80, "-DMAKE=2"),
    ("kernels", 90, "-DMAKE=1"),
    ("kernels", 80, "-DMAKE=1"),
];

/// Architectures that machine code is made for: A100, consumer cards of two generations, H100 and
/// H200.
const READY: &str = "80 89 90a 120";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    // Only a checkout has a commit: neither a copy without a history nor one inside another
    // project's history has.
    if Path::new(".git").exists() {
        if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
            println!("cargo::rustc-env=MVAE_GIT_COMMIT={commit}");
        }
        // A path that does not exist would make every build run this script again.
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

/// The output of a git command, trimmed; `None` if it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The kernel files of a folder, with the one that runs all others last; empty if there is no
/// folder.
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

/// A kernel, as a line declares it: `KERNEL(name, Args, Shared, most)`, or `VARIANT(name,
/// precision, Args, ...)`.
struct Made {
    name: String,
    precision: Option<String>,
    args: String,
    shared: String,
}

/// The kernels that a file declares.
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

/// The kernels that `run_plan` can run, sorted by name; the index of a kernel is its number.
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

/// The names of the numbered kernels, as Rust source.
fn numbers(files: &[PathBuf]) -> String {
    let names = numbered(files).into_iter().filter(|kernel| kernel.precision.is_none()).map(|kernel| kernel.name);
    format!("&{:?}\n", names.collect::<Vec<_>>())
}

/// A file that nvcc makes from another; both lie in the build folder.
struct Job {
    /// The architecture, such as `compute_80` or `sm_90a`.
    architecture: String,
    module: &'static str,
    from: PathBuf,
    to: PathBuf,
    flags: Vec<String>,
}

/// Writes the images and a table of them, which is empty without nvcc. A kernel that does not
/// compile fails the build.
fn compile_for_gpus(kernels: &Path, out: &Path) {
    println!("cargo::rerun-if-env-changed=MVAE_CUBINS");
    let mut images = String::new();
    if let Some(nvcc) = find_nvcc() {
        println!("cargo::rerun-if-changed={}", nvcc.display());
        let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
        let ready = env::var("MVAE_CUBINS").unwrap_or(if release { READY.into() } else { String::new() });
        let (ptx, cubins) =
            (ptx(kernels, out), ready.split_whitespace().flat_map(|of| cubins(of, out)).collect::<Vec<_>>());
        let sources = sources(kernels, &nvcc);
        [&ptx, &cubins].into_iter().for_each(|jobs| all(&nvcc, jobs, &sources));
        for Job { module, architecture, to, .. } in ptx.iter().chain(&cubins) {
            let bytes = format!("include_bytes!({:?})", compressed(to));
            images += &format!("Image {{ module: {module:?}, architecture: {architecture:?}, bytes: {bytes} }},\n");
        }
        println!("cargo::rustc-env=MVAE_NVCC={}", nvcc.display());
        println!("cargo::rustc-env=MVAE_CUDA={}", release_of(&nvcc));
    }
    fs::write(out.join("images.rs"), format!("&[\n{images}]\n")).expect("a writable build folder");
}

fn ptx(kernels: &Path, out: &Path) -> Vec<Job> {
    let job = |(module, lowest, make): (&'static str, u32, &str)| Job {
        architecture: format!("compute_{lowest}"),
        module,
        from: out.join("kernels.cu"),
        to: out.join(format!("{module}.compute_{lowest}.ptx")),
        flags: ["-ptx", "-std=c++17", "-O3", "-Werror", "all-warnings", make, "-I", &kernels.display().to_string()]
            .map(String::from)
            .into(),
    };
    PTX.map(job).into()
}

/// Jobs that make machine code for an architecture from the PTX that a driver would take there.
fn cubins(of: &str, out: &Path) -> Vec<Job> {
    let number: u32 =
        of.trim_end_matches('a').parse().unwrap_or_else(|_| panic!("MVAE_CUBINS is {of}, expected 80 90a"));
    let mut jobs: Vec<Job> = Vec::new();
    for (module, lowest, _) in PTX.into_iter().filter(|(_, lowest, _)| *lowest <= number) {
        if jobs.iter().all(|job| job.module != module) {
            jobs.push(Job {
                architecture: format!("sm_{of}"),
                module,
                from: out.join(format!("{module}.compute_{lowest}.ptx")),
                to: out.join(format!("{module}.sm_{of}.cubin")),
                flags: vec!["-cubin".into()],
            });
        }
    }
    jobs
}

/// Runs all jobs, as many at a time as cargo allows.
fn all(nvcc: &Path, jobs: &[Job], sources: &str) {
    let at_once = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            job.run(nvcc, sources);
        }
    };
    thread::scope(|scope| (0..at_once.min(jobs.len())).for_each(|_| drop(scope.spawn(work))));
}

impl Job {
    /// Makes the file, unless it already was made from the same sources; a new commit alone does
    /// not change them.
    fn run(&self, nvcc: &Path, sources: &str) {
        let mut command = Command::new(nvcc);
        command.args(&self.flags).args(["-arch", &self.architecture]).arg(&self.from).arg("-o").arg(&self.to);
        let mut hasher = DefaultHasher::new();
        fs::read(&self.from).expect("made before").hash(&mut hasher);
        let (note, from) = (beside(&self.to, "from"), format!("{command:?}\n{}\n{sources}", hasher.finish()));
        if self.to.is_file() && fs::read_to_string(&note).is_ok_and(|before| before == from) {
            return;
        }
        let _ = fs::remove_file(&note);
        match command.output() {
            Ok(output) if output.status.success() => fs::write(note, from).expect("a writable build folder"),
            Ok(Output { stdout, stderr, .. }) => {
                let text = [stdout, stderr].concat();
                panic!("{} failed; NVCC= builds without it:\n{}", nvcc.display(), String::from_utf8_lossy(&text));
            }
            Err(error) => panic!("{} does not run: {error}; NVCC= builds without it", nvcc.display()),
        }
    }
}

/// The file of this name with one more extension.
fn beside(file: &Path, extension: &str) -> PathBuf {
    PathBuf::from(format!("{}.{extension}", file.display()))
}

/// A file with the compressed bytes of another; it is made again if it is not newer.
fn compressed(file: &Path) -> PathBuf {
    let to = beside(file, "z");
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if time(&to) <= time(file) {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&fs::read(file).expect("just made")).expect("memory takes every write");
        fs::write(&to, encoder.finish().expect("memory takes every write")).expect("a writable build folder");
    }
    to
}

/// The CUDA version of an nvcc, such as `13.0`.
fn release_of(nvcc: &Path) -> String {
    let output = Command::new(nvcc).arg("--version").output().ok().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output).into_owned();
    let release = text.split_once("release ").and_then(|(_, rest)| rest.split(',').next());
    release.unwrap_or("of unknown version").to_owned()
}

/// All that an image depends on besides the command: the nvcc, and the text of the folder.
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

/// Folders where an active Python environment may have the toolkit's programs.
fn python_folders() -> Vec<PathBuf> {
    let script = "import site; print('\\n'.join(site.getsitepackages() + [site.getusersitepackages()]))";
    let sites = Command::new("python3").args(["-c", script]).output().ok().filter(|output| output.status.success());
    let text = sites.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.lines().map(|site| Path::new(site).join("nvidia/cu13/bin")).collect()
}

/// The kernels compiled as C++ for this machine, and the table by which `src/backend/simt/mod.rs`
/// finds them.
#[cfg(feature = "simt")]
mod simt {
    use super::*;
    use std::fmt::Write;

    pub fn compile(root: &Path, out: &Path, files: &[PathBuf]) {
        // Kernels with planted mistakes, which show that the backend finds them; the published
        // crate has no tests.
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

    /// The structs of a folder that Rust mirrors field for field, with the names of their fields.
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
            // A field's name stands last before a comma or the end of a declaration, without the
            // numbers of an array.
            let names = code.split([',', ';']).map(|one| one.split('[').next().unwrap_or_default().trim());
            let names = names.filter(|one| !one.is_empty()).map(|one| one.rsplit(|c| !is_name(c)).next());
            let names = names.flatten().map(str::to_owned).collect();
            comment.contains("// field for field").then(|| (name.to_owned(), names))
        };
        text.split("\nstruct ").skip(1).filter_map(of_text).collect()
    }
}
