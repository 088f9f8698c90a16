"""Draws what costs of feet change: how a joystick is obeyed against how its feet skate and stand.

    pip install matplotlib
    python docs/tradeoff.py          reads docs/tradeoff.csv, writes docs/tradeoff.svg
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


def main():
    with open(FOLDER / "tradeoff.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    figure, panels = plt.subplots(len(OBEYS), len(FEET), figsize=(8, 5.5), sharex="col", sharey="row", layout="constrained")
    for line, (obeys, (up, bar)) in zip(panels, OBEYS.items()):
        for panel, (feet, (along, limit)) in zip(line, FEET.items()):
            for decoder in sorted({row["decoder"] for row in rows}):
                points = [(float(row[feet]), float(row[obeys]), row["skate_cost"]) for row in rows if row["decoder"] == decoder]
                (drawn,) = panel.plot(*zip(*(point[:2] for point in points)), "o-", ms=4, label=f"decoder {decoder}")
                for x, y, cost in points:
                    panel.annotate(cost, (x, y), (4, 4), textcoords="offset points", fontsize=7, color=drawn.get_color())
            panel.axvline(limit, color="0.6", ls=":", lw=1)
            panel.axhline(bar, color="0.6", ls=":", lw=1)
            panel.set(xlabel=along if line is panels[-1] else "", ylabel=up if panel is line[0] else "")
    panels[0, 0].legend(frameon=False)
    figure.savefig(FOLDER / "tradeoff.svg", metadata={"Date": None})


main()
