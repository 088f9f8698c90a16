"""Writes AMASS clips of one person as text that mvae-fast imports, and the person's skeleton.

python3 amass.py MODEL.npz CLIP_poses.npz... writes person.toml and, beside each clip, its text
(CLIP_poses.txt).
"""

import sys

import numpy as np

# The first 22 joints of SMPL, SMPL-H and SMPL-X, in their order, by names that the importer knows.
NAMES = """Hips LeftUpLeg RightUpLeg Spine LeftLeg RightLeg Spine1 LeftFoot RightFoot Spine2
    LeftToe RightToe Neck LeftShoulder RightShoulder Head LeftArm RightArm LeftForeArm
    RightForeArm LeftHand RightHand""".split()


def rate(clip):
    return float(clip["mocap_framerate" if "mocap_framerate" in clip else "mocap_frame_rate"])


model, clips = np.load(sys.argv[1]), {path: np.load(path) for path in sys.argv[2:]}
first = next(iter(clips.values()))
body = model["v_template"] + model["shapedirs"][..., :16] @ first["betas"][:16]
places, parents = (model["J_regressor"] @ body)[:22], model["kintree_table"][0]
for path, clip in clips.items():
    if rate(clip) != rate(first) or not np.allclose(clip["betas"], first["betas"]):
        sys.exit(f"{path}: another body or rate than the first clip's: convert it apart")
    turns = clip["poses"][:, :66]
    text = path.removesuffix(".npz") + ".txt"
    np.savetxt(text, np.hstack([clip["trans"] + places[0], turns]), fmt="%.6f")
with open("person.toml", "w") as file:
    print("fps =", rate(first), file=file)
    for i, name in enumerate(NAMES):
        offset = (places[i] - places[parents[i]] if i else np.zeros(3)).tolist()
        parent = f'parent = "{NAMES[parents[i]]}"\n' if i else ""
        print(f'[[joints]]\nname = "{name}"\n{parent}offset = {offset}', file=file)
