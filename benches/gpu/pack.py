"""Makes target/gpu/: see benches/gpu-pack.sh."""
import json
import os
import shutil
import subprocess
import sys

FOLDER = "target/gpu"
MOST = 60 << 20
PROFILE = os.environ.get("PROFILE", "release")
GOLDEN, PEERS = os.environ.get("GOLDEN", "../shared/golden"), os.environ.get("PEERS", "../shared/peer")
TARGETS = [("bin", "mvae-fast"), ("test", "cuda"), ("test", "golden"), ("bench", "step"), ("bench", "ops")]
# Kinds of golden cases that have nothing to do with a GPU yet.
LEFT_OUT = ("env", "ppo")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def build():
    """Paths of the programs, by name."""
    targets = [word for kind, name in TARGETS for word in (f"--{kind}", name)]
    command = ["cargo", "build", "--quiet", "--profile", PROFILE, *targets, "--message-format", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    built = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {one["target"]["name"]: one["executable"] for one in built if one.get("executable")}


def nvcc():
    """The compiler of the probes: as build.rs looks for it, in short."""
    homes = [os.path.join(os.environ[name], "bin/nvcc") for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    found = [os.environ.get("NVCC"), *homes, shutil.which("nvcc")]
    return next((path for path in found if path and os.path.isfile(path)), None)


def compile_probes():
    compiler = nvcc()
    if not compiler:
        sys.exit("gpu-pack: no nvcc (set NVCC): the programs would have no kernels")
    library = os.path.join(os.path.dirname(compiler), "../lib")
    command = [compiler, "-O3", "-std=c++17", "-gencode", "arch=compute_90a,code=sm_90a", "benches/gpu/probes.cu",
               "-o", f"{FOLDER}/bin/probes", "-L", library]
    subprocess.run(command, check=True)
    return output(compiler, "--version").splitlines()[-2]


def newest_glibc(path):
    """The newest version of the C library that a program asks for."""
    words = output("objdump", "-T", path).replace("(", " ").replace(")", " ").split()
    versions = {tuple(map(int, word[6:].split("."))) for word in words if word.startswith("GLIBC_2")}
    return ".".join(map(str, max(versions, default=(0,))))


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(f"{FOLDER}/bin")
    os.makedirs(f"{FOLDER}/gpu")
    compiler = compile_probes()
    programs = build()
    for _, name in TARGETS:
        subprocess.run(["strip", "-o", f"{FOLDER}/bin/{name}", programs[name]], check=True)
    shutil.copy("benches/gpu.sh", FOLDER)
    for name in ("gpu.py", "peers.py", "table.py", "probes.cu"):
        shutil.copy(f"benches/gpu/{name}", f"{FOLDER}/gpu")
    for name in ("torch_mvae.py", "jax_mvae.py"):
        if os.path.exists(f"{PEERS}/{name}"):
            os.makedirs(f"{FOLDER}/peers", exist_ok=True)
            shutil.copy(f"{PEERS}/{name}", f"{FOLDER}/peers")
        else:
            print(f"gpu-pack: skipped {PEERS}/{name}, which is not there")
    cases = sorted(os.listdir(GOLDEN)) if os.path.isdir(GOLDEN) else []
    for name in cases:
        if os.path.exists(f"{GOLDEN}/{name}/case.json") and not name.startswith(LEFT_OUT):
            shutil.copytree(f"{GOLDEN}/{name}", f"{FOLDER}/golden/{name}", copy_function=shutil.copyfile)
    if not cases:
        shutil.copytree("tests/golden", f"{FOLDER}/golden")
    dirty = "-dirty" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    pack = dict(commit=output("git", "rev-parse", "--short=12", "HEAD") + dirty, profile=PROFILE, nvcc=compiler,
                rustc=output("rustc", "--version"), glibc=max(
                    (newest_glibc(f"{FOLDER}/bin/{name}") for _, name in TARGETS), key=lambda v: [*map(int, v.split("."))]))
    with open(f"{FOLDER}/pack.json", "w") as file:
        json.dump(pack, file)
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(FOLDER) for name in names)
    print(f"{FOLDER}: {size / 2**20:.1f} MiB, commit {pack['commit']}, needs glibc {pack['glibc']} or newer")
    if size > MOST:
        sys.exit(f"gpu-pack: more than {MOST >> 20} MiB")


main()
