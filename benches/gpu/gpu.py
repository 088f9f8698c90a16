"""Runs every part of the GPU's checks and measurements, each with its own time limit: see benches/gpu.sh.

A part that fails, hangs or is not there does not stop the rest. Results are written after each part, so a call that is cut
off leaves what was measured until then: DATE-COMMIT-gpu.json (without a GPU -rehearsal.json), a table of it in gpu.md, and
what each part said in NAME.log.
"""
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import table

BEGUN = time.monotonic()
DEVICE = os.environ.get("DEVICE", "cuda")
BUDGET = float(os.environ.get("BUDGET", 465 if DEVICE == "cuda" else 3600))
OUT = os.environ.get("OUT") or "results"
# Where the toolkit's programs are when nobody has put them on the path.
os.environ["PATH"] += os.pathsep + os.path.join(os.environ.get("CUDA_HOME") or "/usr/local/cuda", "bin")
ONLY = os.environ.get("PARTS", "").split()
PROBES = ("roofs", "ramp", "barriers", "mma", "copies", "bulk", "multicast")
ENGINES, PRECISIONS = (("calls", "graph", "pdl", "persistent"), ("fp32", "bf16x3")) if DEVICE == "cuda" else (("auto",), ("fp32",))
with open("pack.json") as file:
    PACK = json.load(file)


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
    version = "import {0}; print({0}.__version__)"
    with open("/proc/cpuinfo") as info:
        cpu = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    nvcc = output("nvcc", "--version").splitlines()
    return dict(gpu=smi(*fields), cpu=cpu, cores=os.cpu_count(), glibc=platform.libc_ver()[1], python=platform.python_version(),
                nvcc=nvcc[-2] if len(nvcc) > 1 else None,
                **{name: output(sys.executable, "-c", version.format(name)) or None for name in ("torch", "jax")})


class Results:
    def __init__(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        words = [f"{name}={os.environ[name]}" for name in ("DEVICE", "BUDGET", "PARTS", "STEPS") if name in os.environ]
        self.all = dict(command=" ".join([*words, "sh gpu.sh"]), date=now.strftime("%Y-%m-%d %H:%M UTC"), pack=PACK,
                        machine=machine(), parts=[])
        kind = "gpu" if DEVICE == "cuda" else "rehearsal"
        self.path = f"{OUT}/{now:%Y-%m-%d}-{PACK['commit']}-{kind}.json"
        self.writing = threading.Lock()

    def write(self):
        with open(self.path + ".new", "w") as file:
            json.dump(self.all, file, indent=1)
            file.write("\n")
        os.replace(self.path + ".new", self.path)
        with open(f"{OUT}/gpu.md", "w") as file:
            file.write(table.render(self.all) + "\n")

    def figures(self, part):
        return next((one["figures"] for one in self.all["parts"] if one["name"] == part), [])

    def run(self, name, limit, *command, **environment):
        """Runs one part; lines of JSON that it prints are its figures."""
        if ONLY and not any(name.startswith(word) for word in ONLY):
            return
        left = BUDGET - (time.monotonic() - BEGUN)
        part = dict(name=name, command=" ".join(command), limit_s=limit, figures=[])
        if left < 5:
            part["status"] = "skipped: no time left"
        elif not shutil.which(command[0]):
            part["status"] = f"skipped: no {command[0]}"
        else:
            start = time.monotonic()
            with open(f"{OUT}/{name}.log", "w+") as log:
                process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                           env=os.environ | environment, start_new_session=True)
                try:
                    code = process.wait(min(limit, left))
                    part["status"] = "ok" if code == 0 else f"failed: exit code {code}"
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)  # its own group: what it started ends with it
                    process.wait()
                    part["status"] = f"failed: took more than {min(limit, left):.0f} s"
                log.seek(0)
                text = log.read()
            for line in filter(lambda line: line.startswith("{"), text.splitlines()):
                try:
                    part["figures"].append(json.loads(line))
                except ValueError:
                    pass
            if part["status"].startswith("failed"):
                part["said"] = text.strip()[-2000:]
            part["seconds"] = round(time.monotonic() - start, 1)
        with self.writing:
            print(f"{time.monotonic() - BEGUN:5.0f} s  {name}: {part['status']}", flush=True)
            self.all["parts"].append(part)
            self.write()


def side_by_side(*parts):
    """Runs parts of which none is timed, as many at the same time as there are cores for."""
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 4)) as pool:
        list(pool.map(lambda part: part(), parts))


def main():
    os.makedirs(OUT, exist_ok=True)
    os.environ.setdefault("CUDA_CACHE_PATH", os.path.abspath(f"{OUT}/cache"))  # kernels are compiled once for all parts
    results = Results()
    run, program = results.run, "bin/mvae-fast"
    run("program", 60, program, "doctor")
    side_by_side(
        partial(run, "tests", 180, "bin/cuda", "gpu_", "--nocapture", "--test-threads", "1"),
        partial(run, "golden", 180 if DEVICE == "cuda" else 600, "bin/golden", "all_cases", "--exact", "--nocapture",
                MVAE_GOLDEN_DIR=os.path.abspath("golden")),
        *(partial(run, f"gradcheck-{precision}", 120, program, "gradcheck", "--device", DEVICE, "--json", "--precision", precision)
          for precision in PRECISIONS))
    for precision in PRECISIONS:
        for engine in ENGINES:
            run(f"steps-{precision}-{engine}", 60, "bin/step", "mixture", "--device", DEVICE, "--json",
                "--engine", engine, "--precision", precision)
    run("steps-others", 60, "bin/step", "posevae", "specialist", "vq", "--device", DEVICE, "--json")
    for probe in PROBES:
        run(f"probe-{probe}", 30, "bin/probes", probe)
    # What products and moved bytes can reach at best, for the share of it that an operation reaches.
    roofs = {figure["what"]: figure["value"] for probe in PROBES for figure in results.figures(f"probe-{probe}")}
    product = dict(fp32=roofs.get("fp32 multiply-add"), bf16x3=roofs.get("the same on all blocks, bf16 products", 0) / 3)
    memory = roofs.get("copy of device memory, read and written")
    for precision in PRECISIONS:
        known = ["--roof", f"{product[precision]},{memory}"] if product[precision] and memory else []
        run(f"ops-{precision}", 90, "bin/ops", "--device", DEVICE, "--json", "--precision", precision, *known)
    run("peers-torch", 240 if DEVICE == "cuda" else 900, sys.executable, "gpu/peers.py", "torch", DEVICE, PYTHONUNBUFFERED="1")
    run("peers-jax", 120 if DEVICE == "cuda" else 300, sys.executable, "gpu/peers.py", "jax", DEVICE, PYTHONUNBUFFERED="1",
        XLA_PYTHON_CLIENT_PREALLOCATE="false")
    run("train", 60, program, "train", "--device", DEVICE, "--max-minutes", "0.3", "--runs", f"{OUT}/runs", "--name", "gpu",
        "--quiet", "--json")
    side_by_side(
        *(partial(run, f"sanitizer-{tool}", 120, "compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "bin/cuda", "--exact",
                  "gpu_small_kernels_follow_their_definitions", "--nocapture") for tool in ("memcheck", "racecheck", "synccheck")))
    results.all["machine"]["gpu_at_end"] = smi("clocks.sm", "temperature.gpu", "power.draw", "clocks_event_reasons.active")
    for folder in ("runs", "cache"):
        shutil.rmtree(f"{OUT}/{folder}", ignore_errors=True)
    results.write()
    print("\n" + table.render(results.all))
    failed = [part["name"] for part in results.all["parts"] if part["status"].startswith("failed")]
    print(f"\nraw numbers: {results.path}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


main()
