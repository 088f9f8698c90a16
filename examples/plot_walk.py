"""Draws a walk as stick figures over the way of its root.

    pip install mvae_fast-*.whl matplotlib
    python examples/plot_walk.py runs/walk walk.png
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mvae_fast
import numpy as np


def main(run, out, seconds=4, seed=0):
    model = mvae_fast.load(run)
    walk, fps = model.reset(seed=seed), round(model.fps)
    poses = np.concatenate([walk.step() for _ in range(seconds * fps)])
    places, bones = model.positions(poses), model.skeleton.parents
    hips = places[:, model.skeleton.hips]
    axes = plt.figure(figsize=(9, 5)).add_subplot(projection="3d")
    axes.plot(hips[:, 2], hips[:, 0], 0 * hips[:, 1], color="0.7")
    shown = range(0, len(places), fps // 2)
    for number, frame in enumerate(shown):
        color = plt.cm.viridis(number / max(len(shown) - 1, 1))
        for joint, parent in enumerate(bones):
            if parent >= 0:
                x, y, z = places[frame, [joint, parent]].T
                axes.plot(z, x, y, color=color, linewidth=2)
    axes.set(xlabel="z, m", ylabel="x, m", zlabel="height, m", title=f"{seconds} s, a figure every half second")
    axes.set_aspect("equal")
    axes.figure.savefig(out, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main(*sys.argv[1:3])
