"""Writes the skeleton of the person of an AMASS clip, with which mvae-fast imports their clips.

python3 amass.py MODEL.npz CLIP_poses.npz writes person.toml.
"""

import sys

import numpy as np

# The first 22 joints of SMPL, SMPL-H and SMPL-X, in their order, by names that the importer knows.
NAMES = """Hips LeftUpLeg RightUpLeg Spine LeftLeg RightLeg Spine1 LeftFoot RightFoot Spine2
    LeftToe RightToe Neck LeftShoulder RightShoulder Head LeftArm RightArm LeftForeArm
    RightForeArm LeftHand RightHand""".split()

model, clip = np.load(sys.argv[1]), np.load(sys.argv[2])
rate = clip["mocap_framerate" if "mocap_framerate" in clip else "mocap_frame_rate"]
body = model["v_template"] + model["shapedirs"][..., :16] @ clip["betas"][:16]
places, parents = (model["J_regressor"] @ body)[:22], model["kintree_table"][0]
with open("person.toml", "w") as file:
    print(f"fps = {float(rate)}\nbetas = {clip['betas'].tolist()}", file=file)
    for i, name in enumerate(NAMES):
        offset = (places[i] - places[parents[i]] if i else places[0]).tolist()
        parent = f'parent = "{NAMES[parents[i]]}"\n' if i else ""
        print(f'[[joints]]\nname = "{name}"\n{parent}offset = {offset}', file=file)
