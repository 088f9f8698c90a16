"""Runs ours and the peers alternately, and prints one table with ratios; called by peers.sh.

    peers.py            the full-size training step beside PyTorch and JAX
    peers.py control    training a controller beside PyTorch: environment steps, optimizer steps, whole updates
    peers.py gradients  gradients through the decoder beside JAX: environment steps, without and with their gradients

A round runs every peer once, and the f32 floor of this machine (benches/floor.rs), each right after a run of ours, all on
the same THREADS cores; a ratio compares the medians of such a pair, and the table shows the median ratio over ROUNDS
rounds. A time of the training step is that of a rollout of 8 (jax: of 16 rollouts) over its number of steps, STEPS in all;
of a controller UPDATES whole updates are run, or as many rollouts. Raw numbers go to benches/results/.
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

SETTINGS = {"THREADS": 2, "ROUNDS": 5, "STEPS": 600, "UPDATES": 3}
THREADS, ROUNDS, STEPS, UPDATES = (int(os.environ.get(name, value)) for name, value in SETTINGS.items())
FOLDER = os.environ.get("PEERS", "../shared/peer")
# Peers of the training step: formulation, mode, script, its flags.
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


# Peers of a controller: style, mode.
STYLES = [("reference", "torch eager"), ("good", "torch compile, fused Adam")]
# Number of characters of a crowd, beside the 100 of every other run.
CROWD = 4096


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


def run(command, **variables):
    """The command's JSON line, or the reason why there is none. All commands are bound to the same cores."""
    cores = sorted(os.sched_getaffinity(0))[:THREADS]
    threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads | variables,
                          preexec_fn=lambda: os.sched_setaffinity(0, cores))
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    last = lines[-1] if lines else f"exit code {done.returncode}"
    return json.loads(last) if done.returncode == 0 and last.startswith("{") else last


def busy():
    """Core seconds that all processes have used, and that our own ended processes have used."""
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
    """The peers that can run here; prints for each other one a line that says why it cannot."""
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


class Training:
    """The training step. A rival is a formulation, a mode, a command, and variables of the environment."""
    suffix, what = "cpu", f"steps: {STEPS}"
    settings = ("THREADS", "ROUNDS", "STEPS")
    # Headings and what is shown below them, the less the better.
    measures = {"ms a step": lambda result: result["ms_median"]}

    def __init__(self, versions):
        step, floor = build("step", "floor")
        self.variables = {"STEPS": str(STEPS)}
        self.ours = [step, "mixture", str(THREADS), "--json"]
        self.rivals = [("floor", "f32", [floor, str(THREADS), "--json"], {})]
        self.rivals += [(*peer, {}) for peer in available(versions)]

    @staticmethod
    def say(ratios, pairs):
        """The conclusion from the median ratios, by rival and heading."""
        peers = {rival: of["ms a step"] for rival, of in ratios.items() if rival[0] != "floor"}
        if peers:
            bar = min(peers, key=peers.get)
            print(f"the bar (the strongest peer): {', '.join(bar)}; ours is {peers[bar]:.2f} times faster")
        floors = [pair["theirs"] for pair in pairs if pair["formulation"] == "floor"]
        if floors:
            rate, adam = (statistics.median(floor[key] for floor in floors) for key in ("gflops", "adam_ms"))
            print(f"ours takes {1 / ratios['floor', 'f32']['ms a step']:.2f} times the f32 floor ({floors[0]['gflop']} GFLOP at"
                  f" {rate:.0f} GFLOP/s of a large product, and {adam:.2f} ms of Adam)")


class Control:
    """Training a controller: the Target task at full size, 100 characters, mini-batches of 1000, 10 epochs."""
    suffix, what = "control-cpu", f"updates: {UPDATES}"
    settings = ("THREADS", "ROUNDS", "UPDATES")
    step, optimizer, update = "environment step, us a character", "optimizer step, ms", "whole update, s"
    measures = {
        step: lambda result: 1e3 * result["step_ms"] / result["characters"],
        optimizer: lambda result: result["optimizer_ms"],
        update: lambda result: result["update_s"],
    }

    def __init__(self, versions):
        bench, floor = build("control", "floor")
        self.variables = {"CHARACTERS": "100", "UPDATES": str(UPDATES), "ALGORITHM": "ppo"}
        self.ours = [bench, str(THREADS), "--json"]
        crowd = {"CHARACTERS": str(CROWD), "UPDATES": "0"}
        self.rivals = [("floor", "f32", [floor, str(THREADS), "--json"], {}),
                       ("mvae-fast", f"{CROWD} characters", self.ours, crowd)]
        if versions["torch"]:
            peer = [sys.executable, "benches/peers/control_torch.py", "--threads", str(THREADS), "--updates", str(UPDATES)]
            self.rivals += [(style, mode, [*peer, "--style", style], {}) for style, mode in STYLES]
        else:
            print(f"skipped: the torch peers (no torch in {sys.executable})", flush=True)

    def say(self, ratios, pairs):
        for rival, of in ratios.items():
            if rival[0] == "floor":
                step, optimizer = 1 / of[self.step], 1 / of[self.optimizer]
                print(f"ours takes {step:.2f} times the f32 floor for an environment step, {optimizer:.2f} for an optimizer step")
            elif rival[0] == "mvae-fast":
                print(f"{rival[1]}: an environment step of one costs {of[self.step]:.2f} times that of one among 100")
            else:
                print(f"{', '.join(rival)}: ours makes {of[self.step]:.2f} times as many environment steps a second,"
                      f" {of[self.optimizer]:.2f} times as many optimizer steps, and {of[self.update]:.2f} times as many"
                      " updates end to end")


class Gradients:
    """Gradients through the decoder: the joystick's default, 32 characters, rollouts of 64 steps."""
    suffix, what = "gradients-cpu", f"rollouts: {UPDATES}"
    settings = ("THREADS", "ROUNDS", "UPDATES")
    forward, gradient = "environment step, us a character", "the same with its gradient, us"
    measures = {forward: lambda result: result["forward_us"], gradient: lambda result: result["gradient_us"]}

    def __init__(self, versions):
        (bench,) = build("control")
        self.variables = {"ALGORITHM": "shac", "UPDATES": str(UPDATES)}
        self.ours = [bench, str(THREADS), "--json"]
        peer = [sys.executable, "benches/peers/control_jax.py", "--threads", str(THREADS), "--rollouts", str(UPDATES)]
        self.rivals = [("whole rollout compiled", "jax scan", peer, {})] if versions["jax"] else []
        if not self.rivals:
            print(f"skipped: the jax peer (no jax in {sys.executable})", flush=True)

    def say(self, ratios, pairs):
        for rival, of in ratios.items():
            print(f"{', '.join(rival)}: ours makes {of[self.forward]:.2f} times as many environment steps a second, and"
                  f" {of[self.gradient]:.2f} times as many with their gradients")


def main():
    kinds = {"training": Training, "control": Control, "gradients": Gradients}
    kind = kinds.get(sys.argv[1] if len(sys.argv) > 1 else "training")
    if not kind or len(sys.argv) > 2:
        sys.exit(f"usage: peers.py [{'|'.join(kinds)}]")
    versions = {name: package_version(name) for name in ("torch", "jax")}
    dirty = "-dirty" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    commit = output("git", "rev-parse", "--short=12", "HEAD") + dirty
    now = datetime.datetime.now(datetime.timezone.utc)
    machine = dict(processor=processor(), cores=os.cpu_count(), threads=THREADS, commit=commit,
                   date=now.strftime("%Y-%m-%d %H:%M UTC"), rustc=output("rustc", "--version"),
                   python=platform.python_version(), **versions)
    print(", ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    set_here = [f"{name}={os.environ[name]}" for name in kind.settings if name in os.environ]
    race = kind(versions)
    rounds, begun, before = [], time.monotonic(), busy()
    for number in range(ROUNDS):
        pairs = []
        for formulation, mode, command, variables in race.rivals:
            ours, theirs = run(race.ours, **race.variables), run(command, **race.variables | variables)
            if isinstance(ours, str):
                sys.exit(f"our run failed: {ours}")
            if isinstance(theirs, str):
                print(f"failed: {formulation}, {mode}: {theirs}", flush=True)
                continue
            pair = dict(formulation=formulation, mode=mode, ours=ours, theirs=theirs,
                        command=" ".join(map(shlex.quote, [*(f"{k}={v}" for k, v in variables.items()), *command[1:]])))
            pairs.append(pair)
            times = (f"{heading} {of(theirs):.3f} (ours {of(ours):.3f})" for heading, of in race.measures.items()
                     if of(theirs) is not None)
            print(f"round {number + 1}: {formulation}, {mode}: {', '.join(times)}", file=sys.stderr, flush=True)
        rounds.append(pairs)
    everyone, own = (after - first for after, first in zip(busy(), before))
    others = max(0.0, everyone - own) / (time.monotonic() - begun)

    pairs = [pair for pairs in rounds for pair in pairs]
    print(f"\nrounds: {ROUNDS}, {race.what}; other processes used {others:.2f} cores; times: median (least, most) of the runs'"
          " medians\n")
    headings = [cell for heading in race.measures for cell in (heading, "ratio to ours")]
    print(f"| formulation | mode | {' | '.join(headings)} |\n{'|---' * (2 + len(headings))}|")

    def row(rival, results, ratios):
        cells = [*rival]
        for heading, of in race.measures.items():
            times = [of(result) for result in results if of(result) is not None]
            cells += [f"{statistics.median(times):.2f} ({min(times):.2f}, {max(times):.2f})" if times else "",
                      f"{ratios[heading]:.2f}" if heading in ratios else ""]
        print(f"| {' | '.join(cells)} |")

    row(("mvae-fast", f"cpu, {THREADS} threads"), [pair["ours"] for pair in pairs], dict.fromkeys(race.measures, 1))
    ratios = {}
    for rival in dict.fromkeys((pair["formulation"], pair["mode"]) for pair in pairs):
        of_rival = [pair for pair in pairs if (pair["formulation"], pair["mode"]) == rival]
        ratios[rival] = {heading: statistics.median(of(pair["theirs"]) / of(pair["ours"]) for pair in of_rival)
                         for heading, of in race.measures.items() if of(of_rival[0]["theirs"]) is not None}
        row(rival, [pair["theirs"] for pair in of_rival], ratios[rival])
    print()
    race.say(ratios, pairs)

    os.makedirs("benches/results", exist_ok=True)
    path = f"benches/results/{now:%Y-%m-%d}-{commit}-{race.suffix}.json"
    command = " ".join([*set_here, "benches/peers.sh", *sys.argv[1:]])
    with open(path, "w") as file:
        json.dump(dict(command=command, machine=machine, cores_used_by_others=round(others, 3),
                       settings={name: globals()[name] for name in race.settings}, rounds=rounds), file, indent=1)
        file.write("\n")
    print(f"raw numbers: {path}")


main()
