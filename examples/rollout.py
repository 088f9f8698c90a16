"""Walks with a trained mixture model in plain numpy: what a run's checkpoint holds, and how to use it elsewhere.

    python examples/rollout.py runs/NAME/checkpoints/best.safetensors motion.npz walk.npy

Starts from the first frames of motion.npz (the data the model was trained on) and writes 300 frames [300, features] in
the data's own units. Needs numpy and safetensors.
"""

import json
import sys

import numpy as np
from safetensors import safe_open


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def decode(p, z, condition):
    """The next pose of each sample, normalised: latent [B, L] and condition [B, C F], newest frame first."""
    inputs = np.concatenate([z, condition], 1)
    h = elu(inputs @ p["decoder.gate.0.weight"].T + p["decoder.gate.0.bias"])
    h = elu(h @ p["decoder.gate.2.weight"].T + p["decoder.gate.2.bias"])
    logits = h @ p["decoder.gate.4.weight"].T + p["decoder.gate.4.bias"]
    gate = np.exp(logits - logits.max(1, keepdims=True))
    gate /= gate.sum(1, keepdims=True)
    h = condition
    for layer in range(3):
        inputs = np.concatenate([z, h], 1)  # the latent goes into every layer of the experts
        each = np.einsum("bi,eio->beo", inputs, p[f"decoder.w{layer}"]) + p[f"decoder.b{layer}"]
        h = np.einsum("be,beo->bo", gate, each)
        h = elu(h) if layer < 2 else h
    return h


def reconcile(poses, condition, scale, shift, gain):
    """Joint positions that follow the velocities from the newest frame on; frames [B, F], normalised (one predicted frame)."""
    size = poses.shape[1]
    joints = (size - 3) // 12
    now, before = poses * scale + shift, condition[:, :size] * scale + shift
    place, old, velocity = (x.reshape(-1, joints, 3) for x in (now[:, 3 : 3 + 3 * joints], before[:, 3 : 3 + 3 * joints],
                                                                now[:, 3 + 3 * joints : 3 + 6 * joints]))
    x, z = old[..., 0] - now[:, 0:1], old[..., 2] - now[:, 1:2]
    cos, sin = np.cos(now[:, 2:3]), np.sin(now[:, 2:3])
    seen = np.stack([cos * x - sin * z, old[..., 1], sin * x + cos * z], -1)
    variance = np.broadcast_to(scale, size) ** 2
    variance_place, variance_velocity = variance[3 : 3 + 6 * joints].reshape(2, joints, 3)
    share = np.maximum(gain, variance_velocity / (variance_velocity + variance_place))
    now[:, 3 : 3 + 3 * joints] = (share * place + (1 - share) * (seen + velocity)).reshape(len(now), -1)
    return (now - shift) / scale


def main(checkpoint, motion, out, frames=300, seed=0):
    with safe_open(checkpoint, framework="numpy") as f:
        p = {name: f.get_tensor(name) for name in f.keys() if not name.startswith("adam.")}
        about = json.loads(f.metadata()["mvae-fast"])
    model, mode = about["model"], about["normalization"]
    if model["variant"] != "mixture":
        sys.exit(f"{checkpoint}: a {model['variant']} model; this example decodes mixture models")
    shift, scale = np.zeros(model["frame_size"]), np.ones(model["frame_size"])
    if mode == "zscore":
        shift, scale = p["normalization.avg"], p["normalization.std"]
    elif mode == "minmax":
        low, high = p["normalization.min"], p["normalization.max"]
        shift, scale = (low + high) / 2, np.where(high > low, (high - low) / 2, 1)
    scale = scale / np.sqrt(p.get("normalization.weight", 1))  # features whose errors counted more

    size = model["frame_size"]
    start = (np.load(motion)["data"][: model["condition_frames"]] - shift) / scale
    condition = start[::-1].reshape(1, -1)  # newest frame first
    rng = np.random.default_rng(seed)
    walk = []
    for _ in range(frames):
        z = rng.standard_normal((1, model["latent_size"]))
        pose = decode(p, z, condition)[:, :size]  # of several predicted frames the first
        gain = model.get("position_gain", 1)
        if gain < 1:
            pose = reconcile(pose, condition, scale, shift, gain)
        walk.append(pose[0] * scale + shift)
        condition = np.concatenate([pose, condition[:, :-size]], 1)
    np.save(out, np.array(walk, np.float32))
    print(f"{out}: {frames} frames of {size} features")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
