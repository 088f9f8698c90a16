#!/usr/bin/env python3
"""The examples of Ray Tune and Optuna, against runs that nobody stopped.

tune.py BINARY

Ray's cluster has two workers on this machine, one of which is killed while it trains. Optuna is
killed once, too, and goes on. Exit code 1 after any fault.
"""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from ray.cluster_utils import Cluster

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "../../examples")
work = tempfile.mkdtemp(prefix="tune.")
os.mkdir(f"{work}/bin")
os.symlink(os.path.abspath(sys.argv[1]), f"{work}/bin/mvae-fast")
os.environ.update(PATH=f"{work}/bin:{os.environ['PATH']}", RAY_USAGE_STATS_ENABLED="0")
os.chdir(work)
FLAGS = "--mirror false --rollout 8 --batch-size 32 --hidden-size 16 --gate-hidden-size 8 --threads 1".split()
FLAGS += "--minibatches 5 --warmup-steps 20 --teacher-epochs 3 --ramp-epochs 3 --student-epochs 21".split()
EPOCHS = 27


def records(run):
    lines = [json.loads(line) for line in open(f"{run}/metrics.jsonl")]
    for line in lines:
        line.pop("timing")
    return lines


def compare(run):
    """The epochs of a run, which must be the first ones of a run that nobody stopped."""
    whole = f"whole-{os.path.basename(run)}"
    train = ["mvae-fast", "train", "--config", f"{run}/config.toml", "--name", whole, "--threads", "1", "--quiet", "--resume-or-start"]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    found, wanted = records(run), records(f"runs/{whole}")
    if found != wanted[: len(found)]:
        print(f"FAULT {run}: its {len(found)} epochs are not those of a run that nobody stopped")
        sys.exit(1)
    return len(found)


def until(what, condition, seconds):
    begun = time.time()
    while not (found := condition()):
        if time.time() - begun > seconds:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return found


def drive(example, *arguments):
    """Starts an example; its words go to a file, so that it never waits for a reader."""
    command = [sys.executable, f"{EXAMPLES}/{example}", "s.npz", *arguments]
    return subprocess.Popen(command, stdout=open(f"{example}.log", "a"), stderr=subprocess.STDOUT, start_new_session=True)


def ended(example, process):
    if process.wait():
        sys.exit(f"{example}: exit code {process.returncode}\n{open(f'{example}.log').read()[-3000:]}")
    return open(f"{example}.log").read()


subprocess.run(["mvae-fast", "data", "synth", "-o", "s.npz", "--frames", "300"], check=True, stdout=subprocess.DEVNULL)

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 10**8})
worker = cluster.add_node(num_cpus=1, object_store_memory=10**8)
os.environ["RAY_ADDRESS"] = cluster.address
tuning = drive("sweep_ray.py", "6", *FLAGS)
lines = lambda run: len(open(f"{run}/metrics.jsonl").readlines()) if os.path.exists(f"{run}/metrics.jsonl") else 0
until("two trials", lambda: tuning.poll() is not None or sum(lines(run) > 1 for run in glob.glob("runs/ray-*")) > 1, 900)
cluster.remove_node(worker, allow_graceful=False)  # kills its processes
cluster.add_node(num_cpus=1, object_store_memory=10**8)
said = ended("sweep_ray.py", tuning)
trials = sorted(glob.glob("runs/ray-*"))
epochs = [compare(run) for run in trials]
again = [len(json.load(open(f"{run}/env.json")).get("resumed", [])) for run in trials]
cluster.shutdown()
if len(trials) != 6 or max(epochs) != EPOCHS or min(epochs) == EPOCHS or not any(again):
    sys.exit(f"FAULT epochs {epochs}, resumed {again}: some should stop early, and one be resumed\n{said[-3000:]}")

study = drive("sweep_optuna.py", "3", *FLAGS)
until("a trial", lambda: lines("runs/optuna-0") > 1, 120)
os.killpg(study.pid, signal.SIGKILL)
study.wait()
time.sleep(65)  # until the trial counts as lost
said = ended("sweep_optuna.py", drive("sweep_optuna.py", "2", *FLAGS))
best = said.splitlines()[-1]
if not best.startswith("best: runs/optuna-"):
    sys.exit(f"FAULT Optuna says: {best}")
compare(best.split()[1].rstrip(","))
if not json.load(open("runs/optuna-0/env.json")).get("resumed") or compare("runs/optuna-0") != EPOCHS:
    sys.exit("FAULT the trial of the process that was killed was not resumed")
print(f"tune: Ray trained {len(trials)} runs for {epochs} epochs, {sum(map(bool, again))} of them resumed; Optuna's {best}")
shutil.rmtree(work)
