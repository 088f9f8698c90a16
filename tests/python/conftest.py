"""Runs to test with, made by the installed command."""

import os
import subprocess
import sys

import pytest

SMALL = "--hidden-size 32 --gate-hidden-size 8 --latent-size 8 --minibatches 8 --teacher-epochs 1 --ramp-epochs 1"


def command(*arguments, cwd=None):
    """Runs `mvae-fast` of this environment and returns its result."""
    program = os.path.join(os.path.dirname(sys.executable), "mvae-fast")
    done = subprocess.run([program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with motion.npz, and with a run of each kind of latent: runs/walk and runs/vq."""
    folder = tmp_path_factory.mktemp("work")
    command("data", "synth", "-o", "motion.npz", "--frames", 600, cwd=folder)
    for name, variant in ("walk", "mixture"), ("vq", "vq"):
        train = f"train motion.npz --quiet --name {name} --variant {variant} --student-epochs 1 {SMALL}"
        command(*train.split(), cwd=folder)
    return folder


@pytest.fixture
def run(folder):
    return folder / "runs/walk"
