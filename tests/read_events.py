"""Reads a TensorBoard event file, or a folder of them, with TensorBoard itself and prints the curves.

usage: python read_events.py PATH [EPOCHS]
Prints one line a curve (tag, number of points, last value). Fails when there is no curve, or when
EPOCHS is given and a training curve has another number of points.
"""
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main(path, epochs=None):
    events = EventAccumulator(path, size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    if not tags["scalars"]:
        return f"{path}: TensorBoard finds no scalars"
    for tag in sorted(tags["scalars"]):
        points = events.Scalars(tag)
        print(f"{tag:34} {len(points):6} points, epoch {points[-1].step}: {points[-1].value:.6g}")
        if epochs is not None and not tag.startswith("validation/") and len(points) != int(epochs):
            return f"{path}: {tag} has {len(points)} points, expected {epochs}"
    for tag in sorted(tags["histograms"]):
        points = events.Histograms(tag)
        histogram = points[-1].histogram_value
        print(f"{tag:34} {len(points):6} histograms, {histogram.num:.0f} values, {histogram.min:.6g} to {histogram.max:.6g}")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
