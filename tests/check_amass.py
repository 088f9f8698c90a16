"""Tests examples/amass.py: makes a stand-in for the SMPL-H model and two AMASS clips of a walk in a
new folder, and beside them the skeleton with which they are imported.

usage: python3 check_amass.py FOLDER
"""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
folder.mkdir()
parents = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
# Metres, y up, facing z: hips, then left before right, as SMPL lists its joints.
offsets = np.array([
    [0, -0.22, 0.03], [0.07, -0.09, 0], [-0.07, -0.09, 0], [0, 0.11, -0.03], [0.035, -0.375, 0],
    [-0.035, -0.375, 0], [0, 0.135, 0], [-0.014, -0.4, -0.04], [0.014, -0.4, -0.04],
    [0, 0.05, 0.025], [0.026, -0.055, 0.12], [-0.026, -0.055, 0.12], [0, 0.21, -0.04],
    [0.08, 0.12, -0.035], [-0.08, 0.12, -0.035], [0, 0.065, 0.05], [0.09, 0.03, -0.01],
    [-0.09, 0.03, -0.01], [0.26, -0.01, -0.02], [-0.26, -0.01, -0.02], [0.25, 0.01, 0],
    [-0.25, 0.01, 0],
])  # fmt: skip
joints = np.zeros((22, 3))
for joint, parent in enumerate(parents):
    joints[joint] = offsets[joint] + (joints[parent] if parent >= 0 else 0)
# One vertex a joint; finger joints lie on the wrists. The first entry of betas enlarges the body.
fingers = np.repeat(joints[20:22], 15, axis=0)
vertices = np.concatenate([joints, fingers])
shapes = np.zeros((52, 3, 16))
shapes[..., 0] = 0.05 * vertices
tree = np.array([[2**32 - 1, *parents[1:], *[20] * 15, *[21] * 15], range(52)], dtype=np.uint32)
model = {"v_template": vertices, "J_regressor": np.eye(52), "shapedirs": shapes}
np.savez(folder / "model.npz", kintree_table=tree, **model)

betas = np.zeros(16)
betas[0] = 1
time = np.arange(600) / 120
swing = 0.5 * np.sin(2 * np.pi * time)
turns = np.zeros((600, 52, 3))
turns[:, 0, 0] = np.pi / 2  # the model is y up, AMASS z up
turns[:, 1, 0], turns[:, 2, 0] = -swing, swing
turns[:, 4, 0], turns[:, 5, 0] = (0.4 * (1 + sign * np.cos(2 * np.pi * time)) for sign in (-1, 1))
place = np.stack([0 * time, -1.3 * time, 1.02 + 0.02 * np.cos(4 * np.pi * time)], axis=1)
for clip in ("walk", "again"):
    clip = (folder / f"{clip}_poses.npz").resolve()
    motion = {"poses": turns.reshape(600, 156), "trans": place - 1.05 * joints[0], "betas": betas}
    np.savez(clip, mocap_framerate=120.0, gender="male", **motion)
script = Path(__file__).resolve().parent.parent / "examples" / "amass.py"
subprocess.run([sys.executable, script, "model.npz", clip], cwd=folder, check=True)
# The skeleton belongs to the body with these betas.
skeleton = tomllib.loads((folder / "person.toml").read_text())
assert skeleton["fps"] == 120 and skeleton["betas"] == betas.tolist(), skeleton
offsets_found = [joint["offset"] for joint in skeleton["joints"]]
assert np.allclose(offsets_found, 1.05 * offsets), skeleton["joints"]
