"""Trains the PyTorch peer on the clips that a training of ours is given, and keeps what `mvae-fast train --init` reads.

    mvae-fast data check set.npz --json > check.json      with the --validation and --seed of the training
    public.py set.npz check.json public.safetensors --teacher 4 --ramp 4 --student 12
    mvae-fast train set.npz --preset reference --validation 0.05 --init public.safetensors --learning-rate 1e-12 \\
      --final-learning-rate 1e-12 --warmup-steps 0 --teacher-epochs 1 --ramp-epochs 0 --student-epochs 0      a run that `eval` judges

Needs torch and safetensors; PEERS is the folder of torch_mvae.py.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import save_file


def main(data, check, out, *flags):
    with open(check) as file:
        held_out = json.load(file)["report"]["held_out"]
    given = np.load(data)
    keep = np.ones(len(given["data"]), bool)
    for first, after in held_out:
        keep[first:after] = False
    # A clip ends where it did, or before what is left out.
    last = np.zeros(len(keep), bool)
    last[given["end_indices"]] = True
    last[:-1] |= ~keep[1:]
    ends = np.flatnonzero(last[keep])
    with tempfile.TemporaryDirectory() as folder:
        source, saved = os.path.join(folder, "train.npz"), os.path.join(folder, "state.npz")
        np.savez(source, data=given["data"][keep], end_indices=ends)
        peer = os.path.join(os.environ.get("PEERS", "../shared/peer"), "torch_mvae.py")
        subprocess.run([sys.executable, peer, "--data", source, "--save", saved, *flags], check=True)
        state = np.load(saved)
        save_file({name: state[name] for name in state.files if not name.startswith("norm.")}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
