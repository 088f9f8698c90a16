"""Compares exported BVH with the motion it was made from, by the package bvh.

check_bvh.py loosen SET.npz LOOSE.npz    writes a set in which two joints move against their parents
check_bvh.py FILE.bvh SET.npz PLACES     compares the files, and writes positions of joints, cm, for
                                         check_bvh.mjs

Some readers add position channels to OFFSET, others let them replace it. Both readings are compared.
"""
import json
import sys

import bvh
import numpy as np


def loosen(source, target):
    arrays = dict(np.load(source))
    frames = np.arange(len(arrays["data"]))
    for joint in (4, 20):  # neck and left hand
        arrays["data"][:, 3 + 3 * joint] += 0.2 * np.sin(0.3 * frames)
    np.savez(target, **arrays)


def rotation(axis, degrees):
    a, b = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}[axis]
    turned = np.eye(3)
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    turned[a, a] = turned[b, b] = cosine
    turned[a, b], turned[b, a] = -sine, sine
    return turned


def places(file, frame, adds):
    """The positions of the joints, by name."""
    found = {}
    for name in file.get_joints_names():
        parent = file.joint_parent(name)
        above, turned = found[parent.name] if parent else (np.zeros(3), np.eye(3))
        channels = file.joint_channels(name)
        values = dict(zip(channels, file.frame_joint_channels(frame, name, channels)))
        place = np.array(file.joint_offset(name))
        if "Xposition" in values:
            place = np.array([values[axis + "position"] for axis in "XYZ"]) + (place if adds else 0)
        place = above + turned @ place
        for channel, value in values.items():
            if channel.endswith("rotation"):
                turned = turned @ rotation(channel[0], value)
        found[name] = (place, turned)
    return {name: place for name, (place, _) in found.items()}


def main(path, source, target):
    with open(path, encoding="utf-8") as text:
        file = bvh.Bvh(text.read())
    arrays = np.load(source)
    names, want = list(arrays["joint_names"]), 30.48 * arrays["positions"]
    assert file.nframes == len(want) and sorted(file.get_joints_names()) == sorted(names)
    moving = sum("Xposition" in file.joint_channels(name) for name in names)
    worst = 0.0
    for frame in range(0, file.nframes, 7):
        for adds in (False, True):
            found = places(file, frame, adds)
            worst = max(worst, *(np.abs(found[name] - want[frame, j]).max() for j, name in enumerate(names)))
    assert worst < 1e-3, f"{path}: joints are up to {worst} cm off"
    with open(target, "w") as out:
        json.dump({"names": names, "fps": float(arrays["fps"]), "places": want.tolist()}, out)
    print(f"{path}: {moving} joints with places, joints at most {worst:.1e} cm off in bvh (Python)")


if __name__ == "__main__":
    loosen(*sys.argv[2:]) if sys.argv[1] == "loosen" else main(*sys.argv[1:])
