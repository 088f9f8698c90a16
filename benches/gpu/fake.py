#!/usr/bin/env python3
"""Stand-in for the programs and modules that a rehearsal lacks, chosen by the name that it is called by.

It stands for nvidia-smi, compute-sanitizer, ncu, the probes, and the modules torch, jax, torch_mvae and jax_mvae.
Two probes go wrong on purpose: one hangs, one fails.
"""
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

__version__ = "a stand-in"
_dynamo = SimpleNamespace(reset=lambda: None)
cuda = SimpleNamespace(empty_cache=lambda: None)
HANGS, FAILS = "multicast", "bulk"


def arguments(words):
    return words


def train(words):
    """A peer; one formulation is not available."""
    if "folded" in words:
        sys.exit("no such formulation")
    print(json.dumps({"ms_median": 0.25}))
    return {"ms_median": 0.25}


main = train


def nvidia_smi(words):
    fields = next(word.split("=")[1] for word in words if word.startswith("--query-gpu=")).split(",")
    values = {"name": "a stand-in", "driver_version": "580.0", "clocks.max.sm": "1980 MHz"}
    line = ", ".join(values.get(field, "1755" if "-lms" in words else "1755 MHz") for field in fields)
    print(line, flush=True)
    while "-lms" in words:
        time.sleep(int(words[words.index("-lms") + 1]) / 1000)
        print(line, flush=True)


def program(words, options):
    """The words after these options, each of which has a given number of values; any other option is a mistake."""
    while words[0].startswith("-"):
        words = words[1 + options[words[0]]:]
    assert words[0].startswith("bin/"), words
    return words


def compute_sanitizer(words):
    print("========= COMPUTE-SANITIZER", flush=True)
    sys.exit(subprocess.run(program(words, {"--tool": 1, "--error-exitcode": 1})).returncode)


def ncu(words):
    if "--import" in words:
        assert os.path.exists(words[words.index("--import") + 1])
        return print("counters")
    with open(words[words.index("-o") + 1] + ".ncu-rep", "w") as report:
        report.write("counters")
    options = {"--set": 1, "--clock-control": 1, "--kernel-name": 1, "--launch-count": 1, "-f": 0, "-o": 1}
    sys.exit(subprocess.run(program(words, options)).returncode)


def probes(words):
    line = dict(probe=words[0], what=words[0], blocks=132, threads=256, kb=64, value=1.5, unit="us")
    whats = dict(roofs=["fp32 multiply-add", "copy of device memory, read and written"], mma=["the same on all blocks, bf16 products"])
    for what in whats.get(words[0], [words[0]]):
        print(json.dumps(line | {"what": what}), flush=True)
    if words[0] == HANGS:
        print("{ half a line", flush=True)
        subprocess.run(["sleep", "3607"])  # what it started has to end with it
    if words[0] == FAILS:
        sys.exit(3)


if __name__ == "__main__":
    name = os.path.basename(sys.argv[0]).replace("-", "_")
    {"nvidia_smi": nvidia_smi, "compute_sanitizer": compute_sanitizer, "ncu": ncu, "probes": probes}[name](sys.argv[1:])
