"""Two runs side by side: how well each predicts a clip, and how each walks.

    pip install mvae_fast-*.whl
    python examples/compare_runs.py runs/walk runs/paper walk.npz

Prints a line for each measure. The error is that of a frame predicted with its own latent, in standard
deviations of the features. Others are the spread of the latents, and the speed of walks beside that of the data.
"""

import sys

import mvae_fast
import numpy as np

FEET = 0.3048


def measures(model, data):
    c, k = model.condition_frames, model.future_predictions
    start, stop = max(data.clips, key=lambda clip: clip[1] - clip[0])
    clip = data.frames[start : min(stop, start + 600)]
    latents = model.encode(clip)
    # One character for each frame of the clip, which predicts it from the true frames before it.
    conditions = np.stack([clip[i : i + c] for i in range(len(latents))])
    predicted, true = model.reset(start=conditions).step(latents), clip[c : len(clip) - k + 1]
    scale, varies = data.frames.std(0), data.frames.std(0) > 1e-3
    walk = model.reset(256, seed=1)
    poses = np.stack([walk.step() for _ in range(120)])
    pace = np.hypot(poses[..., 0], poses[..., 1]) * FEET * model.fps
    return {
        "error of a frame, standard deviations": np.sqrt((((predicted - true)[:, varies] / scale[varies]) ** 2).mean()),
        "spread of the latents' means": latents.std(),
        "speed of walks, m/s, median": np.median(pace),
        "speed of walks, m/s, 95 % quantile": np.quantile(pace, 0.95),
    }


def main(*arguments):
    *runs, file = arguments
    data = mvae_fast.read_set(file)
    columns = [measures(mvae_fast.load(run), data) for run in runs]
    wide = max(map(len, columns[0]))
    print(f"{'':{wide}}", *[f"{str(run)[-16:]:>16}" for run in runs])
    for name in columns[0]:
        print(f"{name:{wide}}", *[f"{column[name]:16.3f}" for column in columns])
    pace = np.hypot(data.frames[:, 0], data.frames[:, 1]) * FEET * data.fps
    print(f"the data: speed {np.median(pace):.3f} m/s, 95 % quantile {np.quantile(pace, 0.95):.3f} m/s")


if __name__ == "__main__":
    main(*sys.argv[1:])
