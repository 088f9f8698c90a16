"""Turns a pickle (.pt) of the public Motion VAE implementation, a model or a controller, into safetensors.

    python convert_pt.py posevae_c1_e6_l32.pt model.safetensors

Run it with PyTorch, numpy and safetensors where the implementation's code can be imported, as the pickle holds its objects.
A pickle runs code while it is read: convert only files that you trust.
"""
import json
import sys

import torch
from safetensors.numpy import save_file

SIZES = ["frame_size", "latent_size", "num_condition_frames", "num_future_predictions"]
CONTROLLER = ["observation_dim", "action_dim", "frame_skip"]
STATISTICS = ["data_max", "data_min", "data_avg", "data_std"]


def main(source, target):
    model = torch.load(source, map_location="cpu", weights_only=False)
    name = type(model).__name__
    if not hasattr(model, "state_dict"):
        sys.exit(f"{source}: holds a {name}, expected a model or a controller")
    # A policy keeps its sizes with its actor.
    said = [model, getattr(model, "actor", None)]
    get = lambda key: next((getattr(of, key) for of in said if hasattr(of, key)), None)
    tensors = {key: value.detach().cpu().float().numpy().copy() for key, value in model.state_dict().items()}
    config = {key: int(get(key)) for key in SIZES + CONTROLLER if get(key) is not None}
    config["class"] = name
    if "VAE" in name and "frame_size" in config:
        config["normalization_mode"] = get("mode")
        for key in STATISTICS:
            tensors[key] = get(key).detach().cpu().float().numpy().copy()
        if "decoder.w0" in tensors:
            config["num_experts"] = len(tensors["decoder.w0"])
        if "d0.fc4.weight" in tensors:
            config["num_experts"] = sum(key.endswith(".fc4.weight") for key in tensors)
        if "quantizer.embed" in tensors:
            config["num_embeddings"] = tensors["quantizer.embed"].shape[1]
    metadata = {"format": "pt", "cmv_format_version": "1", "config": json.dumps(config)}
    save_file(tensors, target, metadata=metadata)
    print(f"{target}: {name}, {len(tensors)} tensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
