"""All results of a run, for tests that compare a run that was killed with one that was not."""
import glob
import hashlib
import json
import os
import struct


def members(folder):
    return [folder] if os.path.exists(f"{folder}/config.toml") else sorted(glob.glob(f"{folder}/*/"))


def checkpoint(path):
    """Everything in a checkpoint except times and the lengths of logs."""
    raw = open(path, "rb").read()
    length = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8 : 8 + length])
    meta = json.loads(head.pop("__metadata__")["mvae-fast"])
    meta.pop("crc32c")
    for key in ("elapsed_seconds", "log_lengths"):
        meta["progress"].pop(key)
    return hashlib.sha256(raw[8 + length :]).hexdigest(), json.dumps([head, meta], sort_keys=True)


def events(path):
    """The number of records in a TensorBoard file, which must all be whole."""
    raw, at, count = open(path, "rb").read(), 0, 0
    while at < len(raw):
        at += 16 + struct.unpack("<Q", raw[at : at + 8])[0]
        count += 1
    assert at == len(raw), "a torn event"
    return count


def outcome(folder):
    """All results of a run that must not depend on how often it was stopped, by name."""
    found = {}
    for member in members(folder):
        name = os.path.relpath(member, folder)
        lines = [json.loads(line) for line in open(f"{member}/metrics.jsonl")]
        times = [line.pop("timing")["elapsed_seconds"] for line in lines]
        assert times == sorted(times), "elapsed time goes back"
        found[name, "metrics"] = lines
        found[name, "progress"] = open(f"{member}/progress.csv").read()
        for path in sorted(glob.glob(f"{member}/eval-*.json")):
            found[name, os.path.basename(path)] = open(path).read()
        found[name, "events"] = events(glob.glob(f"{member}/tensorboard/events*")[0])
        for path in sorted(glob.glob(f"{member}/checkpoints/*.safetensors")):
            found[name, os.path.basename(path)] = checkpoint(path)
        assert os.path.getsize(f"{member}/report.html") > 1000, "a short report"
    return found
