#!/usr/bin/env python3
"""A sweep as a SLURM array of two nodes, whose tasks are killed, against one that nobody stopped.

slurm.py BINARY

Starts a SLURM of its own on this machine: one controller, and a daemon for each node. Every task of
the array is killed once: by the signal that SLURM sends before the end, by `scancel --signal=KILL`,
or by `kill -9` of all that SLURM runs for it. SLURM requeues all but the second kind; for that, the
same script is submitted again. Exit code 1 after any fault.
"""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BINARY = os.path.abspath(sys.argv[1])
EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/sweep.sbatch")
needed = ["munged", "slurmctld", "slurmd", "sbatch"]
if missing := [name for name in needed if not shutil.which(name)]:
    sys.exit(print(f"slurm: skipped, there is no {missing[0]} here (Debian: slurm-wlm munge)"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from outcome import outcome  # noqa: E402

TASKS, NODES, EPOCHS = 12, 2, 12
work = tempfile.mkdtemp(prefix="slurm.")
os.chmod(work, 0o755)
os.chdir(work)
os.mkdir("bin")
os.symlink(BINARY, "bin/mvae-fast")
host = socket.gethostname().split(".")[0]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


control, *ports = free_ports(NODES + 1)
nodes = "\n".join(
    f"NodeName=node{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000"
    for i, port in enumerate(ports)
)
open("slurm.conf", "w").write(f"""\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={os.environ.get("USER", "root")}
AuthType=auth/munge
AuthInfo=socket={work}/munge.socket
CredType=cred/munge
SlurmctldPort={control}
StateSaveLocation={work}/state
SlurmdSpoolDir={work}/spool.%n
SlurmctldPidFile={work}/slurmctld.pid
SlurmdPidFile={work}/slurmd.%n.pid
SlurmctldLogFile={work}/slurmctld.log
SlurmdLogFile={work}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=5
MinJobAge=600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
{nodes}
PartitionName=all Nodes=ALL Default=YES State=UP MaxTime=INFINITE
""")
os.environ.update(SLURM_CONF=f"{work}/slurm.conf", PATH=f"{work}/bin:{os.environ['PATH']}")


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


def until(what, condition, seconds=120):
    begun = time.time()
    while not (found := condition()):
        if time.time() - begun > seconds:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return found


def processes():
    """Parent and command line of all processes."""
    found = {}
    for path in glob.glob("/proc/[0-9]*"):
        try:
            parent = int(open(f"{path}/stat").read().rpartition(")")[2].split()[1])
            found[int(path[6:])] = parent, open(f"{path}/cmdline").read().replace("\0", " ")
        except OSError:
            pass
    return found


def is_ours(pid):
    """True if a process was started by the SLURM of this test."""
    try:
        return f"SLURM_CONF={work}" in open(f"/proc/{pid}/environ").read()
    except OSError:
        return False


def kill_all_of(job):
    """Kills the daemons of a job's steps, and all that they started, as if its node had failed. An
    empty name stands for all jobs."""
    found = processes()
    steps = f"slurmstepd: [{job}." if job else "slurmstepd: ["
    doomed = {pid for pid, (_, command) in found.items() if command.startswith(steps) and is_ours(pid)}
    while more := {pid for pid, (parent, _) in found.items() if parent in doomed} - doomed:
        doomed |= more
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return len(doomed)


def jobs(array):
    """Job number, state and node of each task of the array."""
    columns = "--format=%K,%A,%T,%N"
    lines = run("squeue", "--noheader", "--array", "--job", array, "--states=all", columns).splitlines()
    return {int(task): rest for task, *rest in (line.split(",") for line in lines)}


def submit():
    return run("sbatch", "--parsable", "--cpus-per-task=1", EXAMPLE, "kl.toml").strip()


def metrics(task):
    return f"runs/kl/seed-{task}/metrics.jsonl"


def wait_for(array):
    until("the array", lambda: all(state == "COMPLETED" for _, state, _ in jobs(array).values()), 600)


open("kl.toml", "w").write(f"""\
[train]
data = ["s.npz"]
seed = {{ from = 0, to = {TASKS - 1}, count = {TASKS} }}
mirror = false
rollout = 8
batch_size = 32
hidden_size = 16
experts = 2
gate_hidden_size = 8
minibatches = 60
warmup_steps = 20
teacher_epochs = 2
ramp_epochs = 2
student_epochs = 8
[eval]
walks = 8
frames = 60
""")
daemons = []
faults = []
try:
    run("mvae-fast", "data", "synth", "-o", "s.npz", "--frames", "300")
    run("mvae-fast", "sweep", "kl.toml", "--name", "whole", "--quiet", "--threads", "1")
    whole = {task: outcome(f"runs/whole/seed-{task}") for task in range(TASKS)}

    os.mkdir("state")
    open("munge.key", "wb").write(os.urandom(1024))
    os.chmod("munge.key", 0o400)
    munge = ["--foreground", "--force", f"--key-file={work}/munge.key", f"--socket={work}/munge.socket"]
    munge += [f"--{name}={work}/munge.{name[:-5]}" for name in ("pid-file", "log-file", "seed-file")]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    daemons.append(subprocess.Popen(["munged", *munge], **quiet))
    until("munge", lambda: os.path.exists("munge.socket"))
    daemons.append(subprocess.Popen(["slurmctld", "-D", "-f", f"{work}/slurm.conf"], **quiet))
    for i in range(NODES):
        daemons.append(subprocess.Popen(["slurmd", "-D", "-N", f"node{i}", "-f", f"{work}/slurm.conf"], **quiet))

    def idle():
        states = subprocess.run(["sinfo", "--noheader", "--Node", "--format=%T"], capture_output=True, text=True)
        return states.stdout.split() == ["idle"] * NODES

    until("nodes", idle)

    # Each task is killed while it trains. SLURM starts those tasks again that saved by themselves,
    # and those whose node fails.
    array, killed = submit(), {}
    while len(killed) < TASKS:
        for task, (job, state, node) in jobs(array).items():
            if task in killed or state != "RUNNING" or not os.path.exists(metrics(task)):
                continue
            how = ["USR1", "scancel", "kill -9"][task % 3]
            lines = len(open(metrics(task)).readlines())
            name = f"{array}_{task}"
            if how == "USR1":
                run("scancel", "--signal=USR1", f"{name}.0")
            elif how == "scancel":
                run("scancel", "--signal=KILL", name)
            else:
                assert kill_all_of(job) >= 3, "a job has two daemons and a training"
                run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=failed")
            if how != "scancel":
                until("a requeue", lambda: jobs(array)[task][1] == "PENDING")
                run("scontrol", "update", f"JobId={name}", "StartTime=now")
            if how == "kill -9":  # unless the node is back already
                subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], capture_output=True)
            killed[task] = how, lines
        for task, (_, state, _) in jobs(array).items():
            if task not in killed and state == "COMPLETED":
                raise RuntimeError(f"task {task} came to its end before it was killed")
        time.sleep(0.05)
    over = ("COMPLETED", "CANCELLED", "FAILED", "NODE_FAIL")
    until("the first array", lambda: all(state in over for _, state, _ in jobs(array).values()), 600)
    until("nodes", idle)
    unfinished = [task for task in range(TASKS) if not os.path.exists(f"runs/kl/seed-{task}/eval-{EPOCHS}.json")]
    wait_for(submit())
    ended = {task: outcome(f"runs/kl/seed-{task}") for task in range(TASKS)}
    for task in range(TASKS):
        for key in sorted(whole[task].keys() | ended[task].keys()):
            if whole[task].get(key) != ended[task].get(key):
                faults.append(f"task {task}, {killed[task]}: {key} differs")
    hows = {how: sum(1 for other, _ in killed.values() if other == how) for how, _ in killed.values()}
    cancelled = [task for task, (how, _) in killed.items() if how == "scancel"]
    if sorted(unfinished) != cancelled:
        faults.append(f"after the first array, runs {sorted(unfinished)} were not done, expected {cancelled}")
    for fault in faults:
        print("FAULT", fault)
    print(f"slurm: {TASKS} tasks on {NODES} nodes, killed by {json.dumps(hows)}: {len(faults)} faults")
except Exception:
    for log in glob.glob("*.log"):
        print(f"== {log}", *open(log).readlines()[-15:], sep="\n")
    raise
finally:
    kill_all_of("")
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in daemons:
        daemon.wait()
if not faults:
    shutil.rmtree(work)
sys.exit(bool(faults))
