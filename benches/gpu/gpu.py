"""Runs every part of the GPU's checks and measurements, each with its own time limit: see benches/gpu.sh.

A part that fails, hangs or is missing does not stop the rest. There are three files, written after each part, so a call
that is cut off leaves what was measured until then. DATE-COMMIT-gpu.json has all figures, each with the clock of the
device beside it. gpu.md has tables of them. DATE-COMMIT-gpu.tar.gz has the output and the files of each part.
"""
import datetime
import gzip
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import table

BEGUN = time.monotonic()
FAKE = os.environ.get("FAKE") == "1"
BUDGET = float(os.environ.get("BUDGET", 540))
# Factor of all time limits: in a rehearsal the device is this machine, and slow.
SLOWER = 4 if FAKE else 1
OUT = os.environ.get("OUT") or "results"
WORK = "work"
ONLY = os.environ.get("PARTS", "").split()
# Bytes that are kept of an archive: the amount that comes back from a machine may be limited.
MOST = 15 << 20
HERE = os.getcwd()
if FAKE:
    os.environ["PATH"] = f"{HERE}/fake{os.pathsep}{os.environ['PATH']}"
    os.environ["LD_LIBRARY_PATH"] = f"{HERE}/fake"
# The toolkit's programs may be here, not on the path.
os.environ["PATH"] += os.pathsep + os.path.join(os.environ.get("CUDA_HOME") or "/usr/local/cuda", "bin")
with open("pack.json") as file:
    PACK = json.load(file)

PROGRAM, PYTHON = "bin/mvae-fast", sys.executable
PROBES = ("roofs", "ramp", "barriers", "reads", "grids", "mma", "copies", "bulk", "multicast")
# Sizes and names that are smaller in a rehearsal.
SMALL = ["--small"] if FAKE else []
SMALL_RUN = (" --hidden-size 16 --gate-hidden-size 8 --latent-size 4 --experts 2 --batch-size 32 --rollout 4 --mirror false"
             " --validation 0 --minibatches 0 --decay epoch --warmup-steps 0 --learning-rate 1e-4 --teacher-epochs 1 --ramp-epochs 0 --student-epochs 1")
ONE_TEST = "cuda::gpu_memories_and_plans_do_not_meet" if FAKE else ""
STEPS, SOAK = os.environ.get("STEPS", "16" if FAKE else "1600"), "16" if FAKE else "20000"
OPS = ["rescale", "--small"] if FAKE else []
ON = ["--device", "cuda"]


def part(name, limit, *command, **environment):
    return dict(name=name, limit_s=limit * SLOWER, command=[word for word in command if word], environment=environment)


def sanitizer(tool, test):
    return part(f"{tool}-{test.split('_')[1]}", 50, "compute-sanitizer", "--tool", tool, "--error-exitcode", "9",
                "bin/engines", ONE_TEST or test, "--exact", "--nocapture", "--test-threads", "1")


def profile(name, limit, kernels, count, engine):
    """Counters of launches by ncu, and the places where a warp waits, as text: other machines may lack a reader for its files."""
    report = f"{WORK}/{name}/report"
    step = f"bin/step mixture {' '.join([*SMALL, *ON])} --engine {engine} --precision bf16x3 --json"
    script = (f"ncu --set full --clock-control none --kernel-name regex:'{kernels}' --launch-count {count} -f -o {report} {step} &&"
              f" ncu --import {report}.ncu-rep --page details > {report}.details.txt &&"
              f" ncu --import {report}.ncu-rep --page source --csv > {report}.source.csv")
    return dict(part(name, limit, "sh", "-c", script, STEPS=STEPS if FAKE else "64"), needs="ncu")


def groups():
    """Lists of parts, run one after the other. Several parts of one list run side by side; none of these is timed.
    Parts that show mistakes come first, and parts that are least needed last."""
    step = lambda *words: ("bin/step", "mixture", *words, *SMALL, *ON, "--json")
    small, launch = "cuda::gpu_small_kernels_follow_their_definitions", "cuda::gpu_plans_of_one_launch_follow_double_precision"
    yield [part("program", 20, PROGRAM, "doctor")]
    yield [part("tests", 50, "bin/engines", ONE_TEST or "cuda::gpu_", "--nocapture", "--test-threads", "1"),
           part("golden", 50, "bin/golden", "all_cases", "--exact", "--nocapture", MVAE_GOLDEN_DIR=f"{HERE}/golden"),
           *(part(f"gradcheck-{precision}", 50, PROGRAM, "gradcheck", *ON, "--json", "--precision", precision,
                  *(["--variant", "posevae"] if FAKE else [])) for precision in ("fp32", "bf16x3"))]
    yield [sanitizer(tool, test) for test in (small, launch) for tool in ("memcheck", "racecheck")] + [sanitizer("synccheck", launch)]
    for engine in ("graph", "persistent"):
        yield [part(f"soak-{engine}", 15, *step("--soak", SOAK, "--engine", engine, "--precision", "bf16x3"))]
    for precision in ("fp32", "bf16x3"):
        for engine in ("calls", "graph", "pdl", "persistent"):
            yield [part(f"steps-{precision}-{engine}", 10, *step("--engine", engine, "--precision", precision), STEPS=STEPS)]
    yield [part("steps-others", 20, "bin/step", "posevae", "specialist", "vq", *SMALL, *ON, "--json", STEPS=STEPS)]
    timeline = f"{WORK}/timeline/run_plan"
    words = " ".join(step("--engine", "persistent", "--precision", "bf16x3"))
    yield [part("timeline", 15, "sh", "-c", f"{words} && cat {timeline}", STEPS=STEPS, MVAE_TIMELINE=f"run_plan.timeline,{timeline}")]
    yield [profile("ncu-run_plan", 30, "run_plan", 1, "persistent")]
    yield [profile("ncu-products", 30, "linear_|update", 25, "calls")]
    for probe in PROBES:
        yield [part(f"probe-{probe}", 5, "bin/probes", probe)]
    for precision in ("fp32", "bf16x3"):
        yield [part(f"ops-{precision}", 20, "bin/ops", *OPS, *ON, "--json", "--precision", precision)]
    run = f"{PROGRAM} train --device cuda --runs {WORK}/train/runs --name gpu --quiet --json --max-minutes {0.001 if FAKE else 0.1}"
    motion = f"{WORK}/train/motion.npz"
    small_run = f"{PROGRAM} data synth -o {motion} --frames 120 && {run} {motion}{SMALL_RUN}"
    yield [part("train", 15, "sh", "-c", small_run if FAKE else run)]
    peers = lambda name, limit: part(f"peers-{name}", limit, PYTHON, "gpu/peers.py", name, "cuda", PYTHONUNBUFFERED="1",
                                     XLA_PYTHON_CLIENT_PREALLOCATE="false", PEERS="fake" if FAKE else "")
    yield [peers("jax", 35)]
    yield [peers("torch", 60)]


def output(*command):
    """Standard output of a short command; empty when it does not work."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def smi(*fields):
    lines = output("nvidia-smi", "--query-gpu=" + ",".join(fields), "--format=csv,noheader").splitlines()
    return dict(zip(fields, map(str.strip, lines[0].split(",")))) if lines else {}


def machine():
    fields = ("name", "driver_version", "memory.total", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit")
    with open("/proc/cpuinfo") as info:
        cpu = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    nvcc = output("nvcc", "--version").splitlines()
    found = dict(gpu=smi(*fields), cpu=cpu, cores=os.cpu_count(), glibc=platform.libc_ver()[1], python=platform.python_version(),
                 nvcc=nvcc[-2] if len(nvcc) > 1 else None)
    version = "from importlib.metadata import version; print(version('{}'))"  # which loads neither
    return found | {name: output(sys.executable, "-c", version.format(name)) or None for name in ("torch", "jax")}


class Clock:
    """The state of the device as nvidia-smi reports it, four times a second."""
    FIELDS = ("clocks.sm", "power.draw", "temperature.gpu", "clocks_event_reasons.active")

    def __init__(self):
        self.samples = []
        command = ["nvidia-smi", "--query-gpu=" + ",".join(self.FIELDS), "--format=csv,noheader,nounits", "-lms", "250"]
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            threading.Thread(target=self.read, daemon=True).start()
        except OSError:
            self.process = None

    def read(self):
        for line in self.process.stdout:
            mhz, *rest = (word.strip() for word in line.split(","))
            if mhz.isdigit():
                self.samples.append((time.monotonic(), int(mhz), rest))

    def now(self):
        return self.samples[-1][1] if self.samples else None

    def since(self, begun):
        """Least, median and largest clock since `begun`, and the other fields of the last sample."""
        mine = [sample for sample in self.samples if sample[0] >= begun] or self.samples[-1:]
        if not mine:
            return {}
        mhz = [sample[1] for sample in mine]
        return dict(mhz=[min(mhz), statistics.median_low(mhz), max(mhz)], watts_celsius_reasons=mine[-1][2])

    def stop(self):
        if self.process:
            self.process.kill()


class Results:
    def __init__(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        words = [f"{name}={os.environ[name]}" for name in ("FAKE", "BUDGET", "PARTS", "STEPS") if name in os.environ]
        self.all = dict(command=" ".join([*words, "sh gpu.sh"]), date=now.strftime("%Y-%m-%d %H:%M UTC"), pack=PACK,
                        budget_s=BUDGET, machine=machine(), parts=[])
        self.path = f"{OUT}/{now:%Y-%m-%d}-{PACK['commit']}-{'rehearsal' if FAKE else 'gpu'}"
        self.clock, self.writing = Clock(), threading.Lock()
        open(f"{self.path}.tar.gz", "wb").close()

    def write(self):
        with open(f"{self.path}.json.new", "w") as file:
            json.dump(self.all, file, indent=1)
            file.write("\n")
        os.replace(f"{self.path}.json.new", f"{self.path}.json")
        with open(f"{OUT}/gpu.md", "w") as file:
            file.write(table.render(self.all) + "\n")

    def keep(self, folder):
        """Adds the files of a part's folder to the archive, each compressed by itself, so that it can be read at any time."""
        for at, _, names in sorted(os.walk(folder)):
            for path in (os.path.join(at, name) for name in sorted(names)):
                with open(path, "rb") as file:
                    data = file.read()
                info = tarfile.TarInfo(os.path.relpath(path, WORK))
                info.size, info.mtime = len(data), int(os.path.getmtime(path))
                packed = gzip.compress(info.tobuf() + data + bytes(-len(data) % 512))
                if os.path.getsize(f"{self.path}.tar.gz") + len(packed) > MOST:
                    print(f"left out of the archive, which would be too large: {info.name}, {len(data) >> 10} KB", flush=True)
                    continue
                with open(f"{self.path}.tar.gz", "ab") as file:
                    file.write(packed)

    def roofs(self, part):
        """Best rates of products and of moved bytes, to which those of an operation are compared."""
        roofs = {figure["what"]: figure["value"] for one in self.all["parts"] if one["name"].startswith("probe-")
                 for figure in one["figures"]}
        product = dict(fp32=roofs.get("fp32 multiply-add"), bf16x3=roofs.get("the same on all blocks, bf16 products", 0) / 3)
        product, memory = product[part.split("-")[1]], roofs.get("copy of device memory, read and written")
        return ["--roof", f"{product},{memory}"] if product and memory else []

    def run(self, asked):
        """Runs one part; lines of JSON that it prints are its figures."""
        name, command = asked["name"], asked["command"]
        if name.startswith("ops-"):
            command = [*command, *self.roofs(name)]
        left = BUDGET * SLOWER - (time.monotonic() - BEGUN)
        limit = min(asked["limit_s"], left)
        part = dict(name=name, command=" ".join(command), limit_s=asked["limit_s"], figures=[])
        program = asked.get("needs", command[0])
        if left < 5:
            part["status"] = "skipped: no time left"
        elif not shutil.which(program):
            part["status"] = f"skipped: no {program}"
        else:
            folder, start = f"{WORK}/{name}", time.monotonic()
            os.makedirs(folder)
            environment = {key: value for key, value in asked["environment"].items() if value}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       env=os.environ | environment, start_new_session=True)
            reader = threading.Thread(target=self.read, args=(process.stdout, f"{folder}/log", part["figures"]), daemon=True)
            reader.start()
            try:
                code = process.wait(limit)
                part["status"] = "ok" if code == 0 else f"failed: exit code {code}"
            except subprocess.TimeoutExpired:
                part["status"] = f"failed: took more than {limit:.0f} s"
            try:
                os.killpg(process.pid, signal.SIGKILL)  # its own group: what it started ends with it
            except ProcessLookupError:
                pass
            process.wait()
            reader.join(10)
            if part["status"].startswith("failed"):
                with open(f"{folder}/log", errors="replace") as log:
                    part["said"] = log.read().strip()[-2000:]
            part["seconds"] = round(time.monotonic() - start, 1)
            part["clock"] = self.clock.since(start)
        with self.writing:
            print(f"{time.monotonic() - BEGUN:5.0f} s  {name}: {part['status']}", flush=True)
            self.all["parts"].append(part)
            if "seconds" in part:
                shutil.rmtree(f"{folder}/runs", ignore_errors=True)
                self.keep(folder)
            self.write()

    def read(self, pipe, path, figures):
        """Copies the output of a part to its log as it comes; a figure gets the clock of that moment."""
        with open(path, "wb", buffering=0) as log:
            for line in pipe:
                log.write(line)
                if line.startswith(b"{"):
                    try:
                        figures.append(json.loads(line) | {"sm_mhz": self.clock.now()})
                    except ValueError:
                        pass


def main():
    asked = [[part for part in group if not ONLY or part["name"].startswith(tuple(ONLY))] for group in groups()]
    limits = sum(max((part["limit_s"] for part in group), default=0) for group in asked)
    if limits > BUDGET * SLOWER:
        sys.exit(f"gpu.sh: the parts may take {limits} s, more than the budget of {BUDGET * SLOWER:.0f} s")
    os.makedirs(OUT, exist_ok=True)
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    os.environ.setdefault("CUDA_CACHE_PATH", f"{HERE}/{WORK}/cache")  # what is compiled there is compiled once for all parts
    results = Results()
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 3)) as pool:
        for group in asked:
            list(pool.map(results.run, group))
    results.all["seconds"] = round(time.monotonic() - BEGUN, 1)
    results.all["machine"]["gpu_at_end"] = smi(*Clock.FIELDS)
    results.clock.stop()
    results.write()
    print("\n" + table.summary(results.all))
    failed = [part["name"] for part in results.all["parts"] if part["status"].startswith("failed")]
    print(f"\nraw numbers: {results.path}.json" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


main()
