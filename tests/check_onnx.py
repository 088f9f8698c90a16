#!/usr/bin/env python3
"""Checks an exported ONNX graph. It is well formed, without operators that engines lack. In
onnxruntime, 1,800 frames walk as the exported C character does, alone and in a batch. A small model
may amplify a rounding in time, so a walk whose start is moved by 1e-6 says how far two may part.

    check_onnx.py MODEL.onnx WALK_PROGRAM WEIGHTS.bin      (the program of tests/cli/walk.c)
"""
import json
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime

FRAMES, FAR = 1800, 1e-4
path, program, weights = sys.argv[1:]
model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)
operators = {node.op_type for node in model.graph.node}
assert not operators & {"Einsum", "Loop", "If", "Scan"}, operators
with open(path.removesuffix(".onnx") + ".json") as file:
    about = json.load(file)
joints = len(about["skeleton"]["names"])

session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
names = [value.name for value in session.get_inputs()]
draw = np.random.default_rng(1)
if "points" in names:
    steps = draw.normal(0, 0.1, (FRAMES, session.get_inputs()[2].shape[1], 2))
    given = 2 + steps.cumsum(0)
elif "velocity" in names:
    turns = np.repeat(draw.uniform(0, 2 * np.pi, FRAMES // 60), 60)
    speeds = np.repeat(draw.uniform(0, 1.2, FRAMES // 60), 60) * about["top_speed"]
    given = np.stack([speeds * np.cos(turns), speeds * np.sin(turns)], 1)
else:
    given = draw.standard_normal((FRAMES, about["latent"]))
given = given.astype(np.float32)
walked = subprocess.run([program, weights], input=given.tobytes(), capture_output=True, check=True)
walked = np.frombuffer(walked.stdout, np.float32).reshape(FRAMES, 7 * joints)
want, turned = np.split(walked, [3 * joints], 1)
want, turned = want.reshape(FRAMES, joints, 3), turned.reshape(FRAMES, joints, 4)


def walk(batch, moved=0):
    pose = np.tile(np.float32(about["starts"][0]), (batch, 1))
    pose += moved * draw.standard_normal(pose.shape[1]).astype(np.float32)
    root = np.zeros((batch, 3), np.float32)
    outputs = []
    for frame in given:
        fed = {"pose": pose, "root": root, names[2]: np.stack([frame] * batch)}
        pose, root, *seen = session.run(None, fed)
        # The root is integrated in single precision here: what is compared is seen from it.
        outputs.append([root, *seen])
    return [np.stack(output) for output in zip(*outputs)]


def apart(places, rotations, others, turned):
    """How far two walks have parted up to each frame: in the world, in the body (metres), turned."""
    body = lambda joints: joints - joints.mean(1, keepdims=True)
    signs = [np.abs(rotations - turned).max(-1), np.abs(rotations + turned).max(-1)]
    parted = [np.abs(places - others).max((1, 2)), np.abs(body(places) - body(others)).max((1, 2)),
              np.minimum(*signs).max(1)]
    return np.maximum.accumulate(np.stack(parted), 1)


begun = time.perf_counter()
root, places, rotations, contacts = [output[:, 0] for output in walk(1)]
taken = 1e3 * (time.perf_counter() - begun) / FRAMES
_, moved, moved_turned, _ = [output[:, 0] for output in walk(1, moved=1e-6)]
far = apart(places, rotations, want, turned)
own = apart(places, rotations, moved, moved_turned)
bound = np.array([[10 * FAR], [FAR], [FAR]]) + 10 * own
steady = int((own[1] < FAR / 10).sum())
drift, body, turn = far[:, steady - 1]
print(f"{path}: {len(operators)} operators, {taken:.2f} ms a frame; joints {drift:.1e} m off in the world "
      f"and {body:.1e} m off in the body, rotations {turn:.1e}, after {steady} frames; {contacts.mean():.2f} in contact")
assert (far < bound)[:, :steady].all(), f"parts from the C character at frame {np.argmin((far < bound).all(0))}"
assert steady >= 240, f"the model forgets its start for {steady} frames only"
both = walk(2)
assert all(np.allclose(output[:steady, 0], output[:steady, 1], atol=1e-5) for output in both)
assert np.abs(both[1][:steady, 1] - places[:steady]).max() < 10 * FAR
