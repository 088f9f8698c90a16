"""A path between two ways of walking, by arithmetic on latents: from one way of turning to the other.

    pip install mvae_fast-*.whl
    python examples/latents.py runs/walk walk.npz

The ends a and b are the means of the latents of frames that turn most, to the right and to the left. A stage
walks with PUSH ((1 - t) a + t b) and half the prior's noise. Prints how fast the characters of each stage
turn, degrees a second; left is positive. Which end turns to which side is the model's affair: hips sway with
each step, and a latent says what comes next. Gaits that differ in the pose, such as walking and running,
are no matter of one push.
"""

import sys

import mvae_fast
import numpy as np

STAGES, SECONDS, CHARACTERS, PUSH, NOISE = 7, 4, 128, 2.0, 0.5
EXTREME = 0.1  # share of the frames at each end


def main(run, file):
    model, data, random = mvae_fast.load(run), mvae_fast.read_set(file), np.random.default_rng(0)
    second = round(data.fps)
    latents, turns = [], []
    for start, stop in data.clips:
        if stop - start > 2 * second:
            clip = data.frames[start:stop]
            encoded = model.encode(clip)
            latents.append(encoded)
            # The third feature is the turn of a frame, radians; the first latent is of frame C.
            turns.append(clip[model.condition_frames :, 2][: len(encoded)])
    latents, turns = np.concatenate(latents), np.degrees(np.concatenate(turns)) * data.fps
    right, left = np.quantile(turns, [EXTREME, 1 - EXTREME])
    a, b = latents[turns <= right].mean(0), latents[turns >= left].mean(0)
    print(f"{len(latents)} latents; frames of the ends turn by {right:.0f} and {left:.0f} degrees/s and more")
    for t in np.linspace(0.0, 1.0, STAGES):
        walk, poses = model.reset(CHARACTERS, seed=1), []
        for _ in range(SECONDS * second):
            noise = NOISE * random.standard_normal((CHARACTERS, model.latent_size))
            poses.append(walk.step((PUSH * ((1 - t) * a + t * b) + noise).astype(np.float32)))
        turn = np.degrees(np.array(poses)[second:, :, 2].mean()) * data.fps
        print(f"t = {t:.2f}: {turn:6.1f} degrees/s")


if __name__ == "__main__":
    main(*sys.argv[1:])
