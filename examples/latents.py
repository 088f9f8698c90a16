"""A path between two gaits: the latents of one clip turn into those of another while a character walks.

    pip install mvae-fast
    python examples/latents.py runs/walk walk.npz [FIRST LAST]

FIRST and LAST are numbers of clips in walk.npz (default: the slowest and the fastest). Prints the speed of the
character, m/s, in each of ten stages from FIRST to LAST. The latents of a stage are (1 - t) a + t b: a and b
are latents of frames of the two clips, drawn at random. So at both ends they are latents of real motion.
"""

import sys

import mvae_fast
import numpy as np

STAGES, SECONDS, CHARACTERS = 10, 3, 64
FEET = 0.3048


def speed(poses, fps):
    """Speed of the root, m/s: the first two features are its way in a frame, feet."""
    return float(np.hypot(poses[..., 0], poses[..., 1]).mean() * FEET * fps)


def main(run, file, first=None, last=None):
    model, data, random = mvae_fast.load(run), mvae_fast.read_set(file), np.random.default_rng(0)
    long = [i for i, (start, stop) in enumerate(data.clips) if stop - start > 30]
    pace = {i: speed(data.frames[slice(*data.clips[i])], data.fps) for i in long}
    first, last = int(first or min(pace, key=pace.get)), int(last or max(pace, key=pace.get))
    ends = [model.encode(data.frames[slice(*data.clips[clip])]) for clip in (first, last)]
    names = [data.names[clip] if data.names else f"clip {clip}" for clip in (first, last)]
    print(f"from {names[0]} at {pace[first]:.2f} m/s to {names[1]} at {pace[last]:.2f} m/s")
    begin = data.clips[first][0]
    start = data.frames[begin : begin + model.condition_frames]
    walk = model.reset(start=np.repeat(start[None], CHARACTERS, 0))
    for stage, t in enumerate(np.linspace(0.0, 1.0, STAGES)):
        poses = []
        for _ in range(SECONDS * round(data.fps)):
            a, b = (latents[random.integers(len(latents), size=CHARACTERS)] for latents in ends)
            poses.append(walk.step(((1 - t) * a + t * b).astype(np.float32)))
        print(f"stage {stage}: {speed(np.array(poses), data.fps):.2f} m/s")


if __name__ == "__main__":
    main(*sys.argv[1:])
