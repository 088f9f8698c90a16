#!/usr/bin/env python3
"""Kills the program with SIGKILL, resumes until the run is done, and compares it with a run that was
never stopped.

kill9.py BINARY SECONDS SEED

If there is a C compiler, half of the kills are at a call that changes a file: before it, after it, or
in the middle of a write (shim.c). The others are at a random time, or while a temporary file exists.
Exit code 1 after any fault.
"""
import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from outcome import members, outcome  # noqa: E402

BINARY, SECONDS, SEED = os.path.abspath(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
rng, begun = random.Random(SEED), time.time()
work = tempfile.mkdtemp(prefix="kill9.")
os.chdir(work)

SMALL = "--mirror false --rollout 8 --batch-size 32 --hidden-size 16 --experts 2 --gate-hidden-size 8".split()
SMALL += "--minibatches 7 --warmup-steps 20 --teacher-epochs 2 --ramp-epochs 1 --student-epochs 3".split()
CONTROL = "--characters 16 --steps 8 --updates 12 --hidden-size 16 --checkpoint-every 0".split()
TRAIN, RESUME = ["train", "s.npz", *SMALL], ["train", "--resume"]
# For each kind of run: arguments to start it, arguments to resume it, its weight in the draw.
KINDS = {
    "train": (TRAIN, RESUME, 4),
    "vq": ([*TRAIN, "--variant", "vq"], RESUME, 1),
    "population": ([*TRAIN, "--population", "3"], RESUME, 2),
    "sweep": (["sweep", "sweep.toml"], ["sweep", "sweep.toml", "--name"], 2),
    "control": (["control", "train", "--vae", "whole-train", "--task", "target", *CONTROL], ["control", "train", "--resume"], 3),
}
TEMPORARY = [f"{file}.*.tmp" for file in ("checkpoints/.last.safetensors", "checkpoints/.best.safetensors", ".report.html", ".env.json")]


def run(arguments, **options):
    return subprocess.run([BINARY, *arguments], capture_output=True, **options)


def sitting(arguments, how, folder, limit):
    """Runs one process, killed as `how` says. Returns its exit code and its standard error."""
    environment = dict(os.environ)
    if how[0] == "call":
        environment.update(LD_PRELOAD=shim, SHIM_AT=str(how[1]), SHIM_MODE=how[2])
    process = subprocess.Popen([BINARY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    until = time.time() + (how[1] if how[0] == "time" else limit)
    while how[0] in ("time", "file") and process.poll() is None:
        there = how[0] == "file" and any(glob.glob(f"{member}/{how[1]}") for member in members(folder))
        if there or time.time() > until:
            process.kill()
            break
        time.sleep(0 if how[0] == "file" else 0.001)
    said = process.communicate()[1]
    return process.returncode, said.decode(errors="replace")


def chain(kind, number):
    """Starts a run, kills and resumes it until it is done. Returns the fault or None, and the number of kills."""
    start, resume, _ = KINDS[kind]
    name = f"{kind}-{number}"
    folder, kills = f"runs/{name}", 0
    for turn in range(200):
        born = os.path.isdir(folder)
        arguments = [*resume, name] if born else [*start, "--name", name]
        if turn % 5 == 4:
            arguments += ["--threads", str(rng.choice([1, 2, 3]))]
        how = ("none",)
        if kills < 20:
            mode = rng.choice(["before", "after", "half"])
            how = rng.choice(
                [("call", rng.randrange(1, calls[kind] + 1), mode)] * (2 if shim else 0)
                + [("time", rng.random() ** 1.5 * seconds[kind]), ("file", rng.choice(TEMPORARY))]
            )
        code, said = sitting(arguments, how, folder, 3 * seconds[kind] + 3)
        if code == 0:
            break
        if code != -9:
            return f"{name}: exit {code} after {how}: {said[-300:]}", kills
        kills += 1
        if os.path.isdir(folder) and rng.random() < 0.1 and run(["info", name]).returncode:
            return f"{name}: info fails after {how}", kills
    else:
        return f"{name}: it never ends", kills
    try:
        got = outcome(folder)
    except Exception as error:
        return f"{name}: {error!r}", kills
    for key in sorted(got.keys() | reference[kind].keys()):
        if got.get(key) != reference[kind].get(key):
            return f"{name}: {key} differs: {str(got.get(key))[:200]} {str(reference[kind].get(key))[:200]}", kills
    left = glob.glob(f"runs/.{name}.*.tmp") + glob.glob(f"{folder}/**/.*.tmp", recursive=True)
    if left:
        return f"{name}: left over: {left}", kills
    shutil.rmtree(folder)
    return None, kills


shim = os.path.join(work, "shim.so")
compiled = ["cc", "-O1", "-shared", "-fPIC", "-o", shim, os.path.join(HERE, "shim.c"), "-ldl"]
if not shutil.which("cc") or subprocess.run(compiled).returncode:
    print("kill9: no C compiler, so no kills at single calls")
    shim = None
run(["data", "synth", "-o", "s.npz", "--frames", "300"], check=True)
keys = "".join(f"{key[2:].replace('-', '_')} = {value}\n" for key, value in zip(SMALL[::2], SMALL[1::2]))
with open("sweep.toml", "w") as file:
    file.write('[halving]\nmeasure = "inside"\nreduce = 2\n[eval]\nwalks = 4\nframes = 60\n')
    file.write(f'[train]\ndata = ["s.npz"]\nseed = [0, 1, 2]\n{keys}')
reference, seconds, calls = {}, {}, {}
for kind, (start, _, _) in KINDS.items():
    started = time.time()
    counting = dict(LD_PRELOAD=shim, SHIM_LOG="1") if shim else {}
    whole = run([*start, "--name", f"whole-{kind}", "--quiet"], check=True, env=dict(os.environ, **counting))
    seconds[kind] = time.time() - started
    reference[kind] = outcome(f"runs/whole-{kind}")
    calls[kind] = whole.stderr.count(b"\n")
    print(f"kill9: {kind}: {seconds[kind]:.1f} s, {calls[kind]} calls", flush=True)

chains = kills = 0
faults = []
kinds, weights = list(KINDS), [weight for _, _, weight in KINDS.values()]
while time.time() - begun < SECONDS and len(faults) < 5:
    fault, killed = chain(rng.choices(kinds, weights)[0], chains)
    chains, kills = chains + 1, kills + killed
    if fault:
        faults.append(fault)
        print("FAULT", fault, flush=True)
print(f"kill9: seed {SEED}: {kills} kills in {chains} runs, {len(faults)} faults, {time.time() - begun:.0f} s")
if not faults:
    shutil.rmtree(work)
sys.exit(bool(faults))
