"""Compares the motion of a .glb with that of the .fbx that examples/engines/glb_to_fbx.py made of it,
in Blender: every bone is where it was, in every frame.

    blender --background --python-exit-code 1 --python check_fbx.py -- WALK.glb WALK.fbx FRAMES FPS
"""
import sys

import bpy
import numpy

FAR = 1e-3
if "bool" not in vars(numpy):
    numpy.bool = bool  # see glb_to_fbx.py


def places(read, frames, fps):
    """Places of all bones in the world, metres: {(character, bone): [frame, 3]}."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = fps
    read()
    first = round(min(action.frame_range[0] for action in bpy.data.actions))
    found = {}
    armatures = sorted((o for o in scene.objects if o.type == "ARMATURE"), key=lambda o: o.name)
    for frame in range(frames):
        scene.frame_set(first + frame)
        for number, armature in enumerate(armatures):
            for bone in armature.pose.bones:
                found.setdefault((number, bone.name), []).append(armature.matrix_world @ bone.head)
    return {key: numpy.array(value) for key, value in found.items()}


glb, fbx, frames, fps = sys.argv[sys.argv.index("--") + 1 :]
frames, fps = int(frames), int(fps)
want = places(lambda: bpy.ops.import_scene.gltf(filepath=glb), frames, fps)
have = places(lambda: bpy.ops.import_scene.fbx(filepath=fbx), frames, fps)
assert want.keys() == have.keys(), want.keys() ^ have.keys()
moved = max(numpy.ptp(place, 0).max() for place in want.values())
far = max(numpy.abs(want[key] - have[key]).max() for key in want)
print(f"FBX: {len(want)} bones, {frames} frames, at most {1000 * far:.2f} mm off; they move {moved:.2f} m")
assert moved > 0.1 and far < FAR
