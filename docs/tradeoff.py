"""Draws what costs change: how a joystick is obeyed against how its feet skate and stand.

    pip install matplotlib
    python docs/tradeoff.py          reads docs/tradeoff.csv, writes docs/tradeoff.svg

A row of the table is a policy, as `control eval` measures it. A line joins those of one decoder, number of updates, cost of
standing and prior weight; each point is marked with its cost of skating.
"""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "tradeoff", "svg.fonttype": "none", "font.size": 9})
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)

FOLDER = Path(__file__).parent
FEET = {"skate_of_data": ("skate of places, times the data's", 1.5), "contact_of_data": ("contact, times the data's", 0.8)}
OBEYS = {"heading_error_degrees": ("heading error, degrees", 16), "speed_error_percent": ("speed error, % of the range", 10)}


def series_of(row):
    return tuple(row[key] for key in ("decoder", "updates", "stand_cost", "prior_weight"))


def main():
    with open(FOLDER / "tradeoff.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    figure, panels = plt.subplots(len(OBEYS), len(FEET), figsize=(8, 5.5), sharex="col", sharey="row", layout="constrained")
    for (obeys, (up, bar)), line in zip(OBEYS.items(), panels):
        for (feet, (along, limit)), panel in zip(FEET.items(), line):
            for series in dict.fromkeys(map(series_of, rows)):
                points = [(float(row[feet]), float(row[obeys]), row["skate_cost"]) for row in rows if series_of(row) == series]
                label = "decoder {}, {} updates, standing {}, prior {}".format(*series)
                (drawn,) = panel.plot(*zip(*(point[:2] for point in points)), "o-", ms=4, label=label)
                for x, y, cost in points:
                    panel.annotate(cost, (x, y), (4, 4), textcoords="offset points", fontsize=7, color=drawn.get_color())
            panel.axvline(limit, color="0.6", ls=":", lw=1)
            panel.axhline(bar, color="0.6", ls=":", lw=1)
            panel.set(xlabel=along, ylabel=up)
            panel.label_outer()
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(FOLDER / "tradeoff.svg", metadata={"Date": None})


main()
