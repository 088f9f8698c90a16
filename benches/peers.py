"""Runs our full-size training step and the peers' alternately, and prints one table with ratios; called by peers.sh.

A round runs every peer once, each right after a run of ours, all on the same THREADS cores; a ratio compares the medians
of such a pair, and the table shows the median ratio over ROUNDS rounds. A time is that of a rollout of 8 steps (jax: of
16 rollouts) over its number of steps. Raw numbers go to benches/results/.
"""
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time

THREADS, ROUNDS, STEPS = (int(os.environ.get(k, d)) for k, d in (("THREADS", 2), ("ROUNDS", 5), ("STEPS", 600)))
FOLDER = os.environ.get("PEERS", "../shared/peer")
# Formulation, mode, script, its flags.
PEERS = [
    ("reference", "torch eager", "torch", "--decoder reference --mode eager"),
    ("reference", "torch compile", "torch", "--decoder reference --mode compile"),
    ("fused", "torch eager, fused Adam", "torch", "--decoder fused --mode eager --adam fused"),
    ("folded", "torch eager, fused Adam", "torch", "--decoder folded --mode eager --adam fused"),
    ("fused", "torch compile, fused Adam", "torch", "--decoder fused --mode compile --adam fused"),
    ("folded", "torch compile, fused Adam", "torch", "--decoder folded --mode compile --adam fused"),
    ("reference", "jax scan", "jax", "--decoder reference"),
    ("fused", "jax scan", "jax", "--decoder fused"),
    ("folded", "jax scan", "jax", "--decoder folded"),
]


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def build(*benches):
    """Paths of the benches' programs, release build."""
    names = [word for bench in benches for word in ("--bench", bench)]
    done = subprocess.run(["cargo", "bench", "--quiet", *names, "--no-run", "--message-format", "json"],
                          stdout=subprocess.PIPE, text=True, check=True)
    built = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    paths = {one["target"]["name"]: one["executable"] for one in built if one.get("executable")}
    return [paths[bench] for bench in benches]


def run(command):
    """The command's JSON line, or why there is none. All commands are held to the same cores."""
    cores = sorted(os.sched_getaffinity(0))[:THREADS]
    threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads | {"STEPS": str(STEPS)},
                          preexec_fn=lambda: os.sched_setaffinity(0, cores))
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    last = lines[-1] if lines else f"exit code {done.returncode}"
    return json.loads(last) if done.returncode == 0 and last.startswith("{") else last


def busy():
    """Seconds of all cores that all processes and ours (those that have ended) have used."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    times = os.times()
    everyone = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return everyone, times.children_user + times.children_system + times.user + times.system


def processor():
    with open("/proc/cpuinfo") as info:
        fields = dict(line.split(":", 1) for line in info if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return f"{fields.get('model name', platform.machine())} (family {fields.get('cpu family', '?')})"


def package_version(name):
    return output(sys.executable, "-c", f"import {name}; print({name}.__version__)") or None


def available(versions):
    """The peers that can run here; says in one line each why others cannot."""
    peers, skipped = [], set()
    for formulation, mode, script, flags in PEERS:
        path = f"{FOLDER}/{script}_mvae.py"
        reason = f"no {path}" if not os.path.exists(path) else f"no {script} in {sys.executable}"
        if os.path.exists(path) and versions[script]:
            threads = f" --threads {THREADS}" if script == "torch" else ""
            command = [sys.executable, path, *f"--variant mixture {flags} --steps {STEPS} --json{threads}".split()]
            peers.append((formulation, mode, command))
        elif script not in skipped:
            skipped.add(script)
            print(f"skipped: the {script} peers ({reason})", flush=True)
    return peers


def main():
    versions = {name: package_version(name) for name in ("torch", "jax")}
    dirty = "-dirty" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    commit = output("git", "rev-parse", "--short=12", "HEAD") + dirty
    now = datetime.datetime.now(datetime.timezone.utc)
    machine = dict(processor=processor(), cores=os.cpu_count(), threads=THREADS, commit=commit,
                   date=now.strftime("%Y-%m-%d %H:%M UTC"), rustc=output("rustc", "--version"),
                   python=platform.python_version(), **versions)
    print(", ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    set_here = [f"{name}={os.environ[name]}" for name in ("THREADS", "ROUNDS", "STEPS") if name in os.environ]
    step, floor = build("step", "floor")
    ours_command = [step, "mixture", str(THREADS), "--json"]
    floor_command = [floor, str(THREADS), "--json"]
    peers, rounds, begun, before = available(versions), [], time.monotonic(), busy()
    for number in range(ROUNDS):
        pairs = []
        for formulation, mode, command in [("floor", "f32", floor_command), *peers]:
            ours, theirs = run(ours_command), run(command)
            if isinstance(ours, str):
                sys.exit(f"our step failed: {ours}")
            if isinstance(theirs, str):
                print(f"failed: {formulation}, {mode}: {theirs}", flush=True)
                continue
            pairs.append(dict(formulation=formulation, mode=mode, command=" ".join(map(shlex.quote, command[1:])),
                              ours=ours, theirs=theirs))
            print(f"round {number + 1}: {formulation}, {mode}: {theirs['ms_median']:.3f} ms,"
                  f" ours {ours['ms_median']:.3f} ms", file=sys.stderr, flush=True)
        rounds.append(pairs)
    everyone, own = (after - first for after, first in zip(busy(), before))
    others = max(0.0, everyone - own) / (time.monotonic() - begun)

    table = {}
    for pair in (pair for pairs in rounds for pair in pairs):
        table.setdefault((pair["formulation"], pair["mode"]), []).append(pair)
    ours = [pair["ours"]["ms_median"] for pairs in rounds for pair in pairs]
    print(f"\n{ROUNDS} rounds of {STEPS} steps, while other processes used {others:.2f} cores; ms a step: median (least,"
          " most) of the runs' medians\n")
    print("| formulation | mode | ms a step | ratio to ours |\n|---|---|---|---|")

    def row(formulation, mode, times, ratio):
        ms = f"{statistics.median(times):.2f} ({min(times):.2f}, {max(times):.2f})"
        print(f"| {formulation} | {mode} | {ms} | {ratio} |")

    row("mvae-fast", f"cpu, {THREADS} threads", ours, "1")
    bar, floor = None, None
    for (formulation, mode), pairs in table.items():
        times = [pair["theirs"]["ms_median"] for pair in pairs]
        ratio = statistics.median(pair["theirs"]["ms_median"] / pair["ours"]["ms_median"] for pair in pairs)
        row(formulation, mode, times, f"{ratio:.2f}")
        if formulation == "floor":
            floor = (1 / ratio, pairs)
        elif bar is None or ratio < bar[0]:
            bar = (ratio, f"{formulation}, {mode}")
    if bar:
        print(f"\nthe bar (the strongest peer): {bar[1]}; ours is {bar[0]:.2f} times faster")
    if floor:
        rate, adam = (statistics.median(pair["theirs"][key] for pair in floor[1]) for key in ("gflops", "adam_ms"))
        print(f"ours takes {floor[0]:.2f} times the f32 floor ({floor[1][0]['theirs']['gflop']} GFLOP at {rate:.0f} GFLOP/s"
              f" of a large product, and {adam:.2f} ms of Adam)")

    os.makedirs("benches/results", exist_ok=True)
    path = f"benches/results/{now:%Y-%m-%d}-{commit}-cpu.json"
    with open(path, "w") as file:
        json.dump(dict(command=" ".join([*set_here, "benches/peers.sh"]), machine=machine,
                       cores_used_by_others=round(others, 3), steps=STEPS, rounds=rounds), file, indent=1)
        file.write("\n")
    print(f"raw numbers: {path}")


main()
