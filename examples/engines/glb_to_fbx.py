"""Writes the motion of a .glb as FBX, for programs that read no glTF. Runs in Blender 3.4 or newer:

    mvae-fast generate walk -o walk.glb
    blender --background --python-exit-code 1 --python glb_to_fbx.py -- walk.glb walk.fbx

Every frame becomes a key. Bones keep the names and the axes that Blender gives them.
"""
import json
import os
import struct
import sys

import bpy
import numpy


def frame_rate(path):
    """Frames a second of the first animation of a .glb, or None."""
    with open(path, "rb") as file:
        head = file.read(20)
        if head[:4] != b"glTF":
            sys.exit(f"{path}: this is no .glb file")
        about = json.loads(file.read(struct.unpack("<I", head[12:16])[0]))
    for animation in about.get("animations", []):
        times = about["accessors"][animation["samplers"][0]["input"]]
        if times["count"] > 1:
            return (times["count"] - 1) / (times["max"][0] - times["min"][0])
    return None


def convert(source, target):
    """Writes `source` (.glb) as `target` (.fbx)."""
    rate = frame_rate(source) or 30
    # Blender 3.4 asks numpy for a name that 1.24 took away: both are in Debian 12.
    if "bool" not in vars(numpy):
        numpy.bool = bool
    bpy.ops.wm.read_factory_settings(use_empty=True)
    # Keys are to lie on whole frames of the scene.
    scene = bpy.context.scene
    scene.render.fps = round(rate)
    scene.render.fps_base = round(rate) / rate
    bpy.ops.import_scene.gltf(filepath=source)
    ends = [action.frame_range for action in bpy.data.actions]
    scene.frame_start = round(min((start for start, _ in ends), default=0))
    scene.frame_end = round(max((end for _, end in ends), default=0))
    bpy.ops.export_scene.fbx(
        filepath=target,
        object_types={"ARMATURE", "MESH", "EMPTY"},
        add_leaf_bones=False,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_simplify_factor=0,
    )


def main():
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if len(given) != 2:
        sys.exit("usage: blender --background --python-exit-code 1 --python glb_to_fbx.py -- IN.glb OUT.fbx")
    source, target = given
    if not os.path.isfile(source):
        sys.exit(f"{source}: no such file")
    if os.path.exists(target):
        sys.exit(f"{target} exists; remove it, or give another name")
    convert(source, target)


main()
