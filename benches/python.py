#!/usr/bin/env python3
"""Steps of a model from Python, beside the command's own and a decoder in JAX and in PyTorch, in turn.

    benches/python.py runs/walk [--characters 512] [--frames 300] [--rounds 5] [--threads 2]

Runs with the Python that has the wheel installed, and `mvae-fast` beside it; a peer without its package is
skipped. In each round, all make the same number of frames of as many characters. Prints one line of JSON:
character frames a second of each round, medians, and the ratios of the module's to the others'.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import mvae_fast
import numpy as np


def module(args):
    """The module's steps; latents are made beforehand, as for the other peers."""
    model = mvae_fast.load(args.run, device="cpu", threads=args.threads)
    latents = np.random.default_rng(0).standard_normal((args.frames, args.characters, model.latent_size), np.float32)
    walk = model.reset(args.characters, seed=1)
    walk.step(latents[0])

    def seconds():
        begun = time.perf_counter()
        for z in latents:
            walk.step(z)
        return time.perf_counter() - begun

    return seconds


def command(args):
    """The command's own seconds, without reading the run and writing the file."""
    program = os.path.join(os.path.dirname(sys.executable), "mvae-fast")

    def seconds():
        with tempfile.TemporaryDirectory() as folder:
            words = [program, "generate", args.run, "--characters", args.characters, "--frames", args.frames, "--json"]
            words += ["--device", "cpu", "--threads", args.threads, "-o", f"{folder}/walks.npz"]
            return json.loads(subprocess.run([*map(str, words)], check=True, capture_output=True).stdout)["seconds"]

    return seconds


def decoder(args):
    """The run's decoder of blended layers as arrays by name; sizes of a frame and of the latent."""
    from safetensors import safe_open

    with safe_open(str(mvae_fast.load(args.run).path), framework="numpy") as f:
        parameters = {name: f.get_tensor(name) for name in f.keys() if name.startswith("decoder.")}
    frame = parameters["decoder.w2"].shape[2]
    return parameters, frame, parameters["decoder.w0"].shape[1] - frame


def latents_of(args, size):
    return np.random.default_rng(0).standard_normal((args.frames, args.characters, size), np.float32)


def in_jax(args):
    """A mixture decoder with the run's parameters, jitted, over all characters."""
    import jax
    import jax.numpy as jnp

    p, frame, latent = decoder(args)
    p = {name: jnp.asarray(value) for name, value in p.items()}

    @jax.jit
    def step(p, condition, z):
        h = jnp.concatenate([z, condition], 1)
        for layer in 0, 2, 4:
            h = h @ p[f"decoder.gate.{layer}.weight"].T + p[f"decoder.gate.{layer}.bias"]
            h = jax.nn.elu(h) if layer < 4 else jax.nn.softmax(h)
        gate, x = h, condition
        for layer in range(3):
            x = jnp.concatenate([z, x], 1)
            x = jnp.einsum("be,bi,eio->bo", gate, x, p[f"decoder.w{layer}"]) + gate @ p[f"decoder.b{layer}"]
            x = jax.nn.elu(x) if layer < 2 else x
        return x

    latents = latents_of(args, latent)
    step(p, jnp.zeros((args.characters, frame)), latents[0]).block_until_ready()

    def seconds():
        pose, begun = jnp.zeros((args.characters, frame)), time.perf_counter()
        for z in latents:
            pose = step(p, pose, z)
            np.asarray(pose)  # each frame is read, as from the module
        return time.perf_counter() - begun

    return seconds


def in_torch(args):
    """A mixture decoder with the run's parameters: one product over all experts, then their mean."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(args.threads)
    p, frame, latent = decoder(args)
    p = {name: torch.from_numpy(value) for name, value in p.items()}
    side_by_side = [p[f"decoder.w{layer}"].permute(1, 0, 2).flatten(1).contiguous() for layer in range(3)]

    def step(condition, z):
        h = torch.cat([z, condition], 1)
        for layer in 0, 2, 4:
            h = functional.linear(h, p[f"decoder.gate.{layer}.weight"], p[f"decoder.gate.{layer}.bias"])
            h = functional.elu(h) if layer < 4 else functional.softmax(h, 1)
        gate, x = h, condition
        for layer in range(3):
            outputs = (torch.cat([z, x], 1) @ side_by_side[layer]).unflatten(1, (gate.shape[1], -1))
            x = torch.einsum("be,beo->bo", gate, outputs) + gate @ p[f"decoder.b{layer}"]
            x = functional.elu(x) if layer < 2 else x
        return x

    latents = torch.from_numpy(latents_of(args, latent))

    @torch.inference_mode()
    def seconds():
        pose, begun = torch.zeros(args.characters, frame), time.perf_counter()
        for z in latents:
            pose = step(pose, z)
        return time.perf_counter() - begun

    seconds()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    for flag, default in ("characters", 512), ("frames", 300), ("rounds", 5), ("threads", os.cpu_count()):
        parser.add_argument(f"--{flag}", type=int, default=default)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    peers = {}
    for name, make in ("module", module), ("command", command), ("jax", in_jax), ("torch", in_torch):
        try:
            peers[name] = make(args)
        except ImportError as missing:
            print(f"{name} is skipped: {missing}", file=sys.stderr)
    rates = {name: [] for name in peers}
    for turn in range(args.rounds):
        # Each round begins with another peer, so that none always has the warm processor.
        for name in list(peers)[turn % len(peers) :] + list(peers)[: turn % len(peers)]:
            rates[name].append(args.characters * args.frames / peers[name]())
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    ratios = {name: medians["module"] / median for name, median in medians.items()}
    print(json.dumps({**vars(args), "frames_a_second": rates, "medians": medians, "module_over": ratios}))


if __name__ == "__main__":
    main()
