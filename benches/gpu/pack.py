"""Makes target/gpu/: see benches/gpu-pack.sh."""
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile

FOLDER = "target/gpu"
INSIDE = f"{FOLDER}/pack"
MOST = 48 << 20
# CUDA version of the driver on the GPU machine, which may not read code of a newer nvcc.
NEWEST = (13, 0)
FAKE = os.environ.get("FAKE") == "1"
PROFILE = os.environ.get("PROFILE", "release")
GOLDEN, PEERS = os.environ.get("GOLDEN", "../shared/golden"), os.environ.get("PEERS", "../shared/peer")
TARGETS = [("bin", "mvae-fast"), ("test", "engines"), ("test", "golden"), ("bench", "step"), ("bench", "ops")]
# Programs that a rehearsal lacks, for which stand-ins are packed.
FAKES = ("nvidia-smi", "compute-sanitizer", "ncu")
# Golden cases of controllers, which are left out for lack of room.
LEFT_OUT = ("env", "ppo")
# Golden cases that a rehearsal takes.
QUICK = ("indices", "normalisation", "schedule", "posevae", "rollout_posevae")
FAKE_MODULES = ("torch", "jax", "torch_mvae", "jax_mvae")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def build():
    """Paths of the programs, by name, and the output folder of build.rs."""
    targets = [word for kind, name in TARGETS for word in (f"--{kind}", name)]
    command = ["cargo", "build", "--quiet", "--profile", PROFILE, *targets, "--message-format", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    built = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    made = [one["out_dir"] for one in built if one["reason"] == "build-script-executed" and "mvae-fast" in one["package_id"]]
    return {one["target"]["name"]: one["executable"] for one in built if one.get("executable")}, made[-1]


def nvcc():
    """The compiler of the probes, found much as build.rs finds it."""
    homes = [os.path.join(os.environ[name], "bin/nvcc") for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    found = [os.environ.get("NVCC"), *homes, shutil.which("nvcc")]
    compiler = next((path for path in found if path and os.path.isfile(path)), None)
    if not compiler:
        sys.exit("gpu-pack: no nvcc (set NVCC): the programs would have no kernels")
    release = re.search(r"release (\d+)\.(\d+)", output(compiler, "--version"))
    if not release or tuple(map(int, release.groups())) > NEWEST:
        version = ".".join(release.groups()) if release else "of unknown version"
        sys.exit(f"gpu-pack: {compiler} is of CUDA {version}, newer than the driver there knows; name one of"
                 f" {'.'.join(map(str, NEWEST))} or older by NVCC")
    return compiler


def compile_probes(compiler):
    library = os.path.join(os.path.dirname(compiler), "../lib")
    command = [compiler, "-O3", "-std=c++17", "-gencode", "arch=compute_90a,code=sm_90a", "benches/gpu/probes.cu",
               "-o", f"{INSIDE}/bin/probes", "-L", library]
    subprocess.run(command, check=True)


def compile_timeline(compiler, made):
    """Compiles the kernel that runs plans so that it records the time as it goes."""
    flags = ["-cubin", "-std=c++17", "-O3", "-arch", "sm_90a", "-DMAKE=4", "-DTIMELINE", "-I", "kernels"]
    subprocess.run([compiler, *flags, f"{made}/kernels.cu", "-o", f"{INSIDE}/run_plan.timeline"], check=True)


def add_fakes(made):
    """Adds the driver of the tests, and the stand-ins for the programs and packages of a GPU machine."""
    os.makedirs(f"{INSIDE}/fake")
    flags = "-std=c++17 -O2 -ffp-contract=off -U_FORTIFY_SOURCE -w -shared -fPIC -Wl,-Bsymbolic -Wl,-z,defs -DTIMELINE".split()
    library = f"{INSIDE}/fake/libcuda.so.1"
    subprocess.run([os.environ.get("CXX", "c++"), *flags, "-I", "kernels", "-I", made, "tests/driver/driver.cpp", "-o", library, "-ldl"],
                   check=True)
    shutil.copy(library, f"{INSIDE}/fake/libcuda.so")
    for name in FAKES:
        shutil.copy("benches/gpu/fake.py", f"{INSIDE}/fake/{name}")
    shutil.copy("benches/gpu/fake.py", f"{INSIDE}/bin/probes")
    for path in [*(f"fake/{name}" for name in FAKES), "bin/probes"]:
        os.chmod(f"{INSIDE}/{path}", stat.S_IRWXU)
    for name in FAKE_MODULES:
        shutil.copy("benches/gpu/fake.py", f"{INSIDE}/fake/{name}.py")


def newest_glibc(path):
    """The newest version of the C library that a program needs."""
    words = output("objdump", "-T", path).replace("(", " ").replace(")", " ").split()
    versions = {tuple(map(int, word[6:].split("."))) for word in words if word.startswith("GLIBC_2")}
    return ".".join(map(str, max(versions, default=(0,))))


def main():
    compiler = nvcc()
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in ("bin", "gpu"):
        os.makedirs(f"{INSIDE}/{name}")
    programs, made = build()
    for _, name in TARGETS:
        subprocess.run(["strip", "-o", f"{INSIDE}/bin/{name}", programs[name]], check=True)
    compile_probes(compiler)
    compile_timeline(compiler, made)
    if FAKE:
        add_fakes(made)
    for name in ("gpu.py", "peers.py", "table.py", "probes.cu"):
        shutil.copy(f"benches/gpu/{name}", f"{INSIDE}/gpu")
    for name in ("torch_mvae.py", "jax_mvae.py"):
        if os.path.exists(f"{PEERS}/{name}"):
            os.makedirs(f"{INSIDE}/peers", exist_ok=True)
            shutil.copy(f"{PEERS}/{name}", f"{INSIDE}/peers")
        else:
            print(f"gpu-pack: skipped {PEERS}/{name}, which is not there")
    golden = GOLDEN if os.path.isdir(GOLDEN) and not FAKE else "tests/golden"
    for name in sorted(os.listdir(golden)):
        wanted = name.startswith(QUICK) if FAKE else not name.startswith(LEFT_OUT)
        if wanted and os.path.exists(f"{golden}/{name}/case.json"):
            shutil.copytree(f"{golden}/{name}", f"{INSIDE}/golden/{name}", copy_function=shutil.copyfile)
    dirty = "-dirty" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    pack = dict(commit=output("git", "rev-parse", "--short=12", "HEAD") + dirty, profile=PROFILE, nvcc=compiler,
                rustc=output("rustc", "--version"), glibc=max(
                    (newest_glibc(f"{INSIDE}/bin/{name}") for _, name in TARGETS), key=lambda v: [*map(int, v.split("."))]))
    with open(f"{INSIDE}/pack.json", "w") as file:
        json.dump(pack, file)
    # One archive: programs hold the same images, which it stores once.
    with tarfile.open(f"{FOLDER}/pack.tar.xz", "w:xz") as archive:
        archive.add(INSIDE, arcname=".")
    shutil.copy("benches/gpu.sh", FOLDER)
    size = lambda folder: sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    unpacked = size(INSIDE)
    shutil.rmtree(INSIDE)
    print(f"{FOLDER}: {size(FOLDER) / 2**20:.1f} MiB ({unpacked / 2**20:.1f} unpacked), commit {pack['commit']}, needs glibc"
          f" {pack['glibc']} or newer")
    if size(FOLDER) > MOST:
        sys.exit(f"gpu-pack: more than {MOST >> 20} MiB")


main()
