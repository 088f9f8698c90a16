"""Tables of what gpu.py measured. `python3 benches/gpu/table.py` writes the newest results under benches/results into
docs/benchmarks.md; with --check it only says whether the page is up to date."""
import glob
import json
import sys

PAGE, BEGIN, END = "docs/benchmarks.md", "<!-- gpu: begin -->", "<!-- gpu: end -->"
COMMAND = "python3 benches/gpu/table.py"


def rows(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                      *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def us(ms):
    return f"{1e3 * ms:.1f}"


def render(results):
    """All tables of one run."""
    machine, pack = results["machine"], results["pack"]
    gpu = machine.get("gpu") or {}
    parts = {part["name"]: part for part in results["parts"]}
    figures = lambda begin: [figure for name, part in parts.items() if name.startswith(begin) for figure in part["figures"]]
    text = [f"{gpu.get('name', 'no GPU')}, driver {gpu.get('driver_version', 'unknown')}, SM clock {gpu.get('clocks.sm', 'unknown')} at"
            f" the start (at most {gpu.get('clocks.max.sm', 'unknown')}); {machine['cpu']}; torch {machine['torch']}, jax"
            f" {machine['jax']}; {results['date']}, commit {pack['commit']}, `{results['command']}`."]

    steps = figures("steps-")
    ours = min((step["ms_median"] for step in steps if step["variant"] == "mixture"), default=None)
    if steps:
        text += ["Our step, us: a rollout of 8 from launch to end over 8; by the device's clock; with rollouts in a row, as in training.",
                 rows(("model", "device", "us a step", "on the device", "in a row", "calls"),
                      [(s["variant"], s["device"], us(s["ms_median"]), us(s["device_ms_median"]), us(s["in_a_row_ms_median"]), s["calls"])
                       for s in steps])]
    peers = figures("peers-")
    if peers:
        lines = []
        for peer in peers:
            ms = peer.get("result", {}).get("ms_median")
            ratio = f"{ms / ours:.2f}" if ms and ours else ""
            lines.append((peer["impl"], peer["decoder"], peer["mode"], us(ms) if ms else peer["error"].splitlines()[0][:80], ratio))
        text += ["Peers, us a step of rollouts from launch to end, and the ratio to our fastest:",
                 rows(("package", "formulation", "mode", "us a step", "ratio to ours"), lines)]
    checked = [(name.removeprefix("gradcheck-"), figure["steps"]) for name, part in parts.items() if name.startswith("gradcheck-")
               for figure in part["figures"] if "steps" in figure]
    if checked:
        worst = lambda steps, model: max((row for row in steps["rows"] if row["model"] == model), key=lambda row: row["error"])
        text += ["Gradients of one step, |gradient - that in f64| / |that in f64| (docs/math.md):",
                 rows(("network", "precision", "all", "worst tensor"),
                      [(one["model"], precision, f"{one['error']:.1e}",
                        f"{worst(steps, one['model'])['error']:.1e} {worst(steps, one['model'])['tensor']}")
                       for precision, steps in checked for one in steps["whole"]])]
    ops = figures("ops-")
    if ops:
        share = lambda op: "" if op["roof_percent"] is None else f"{op['roof_percent']:.0f} %"
        text += ["Operations, 20 in a row:",
                 rows(("operation", "sizes", "direction", "device", "us (p10, p90)", "GFLOP/s", "GB/s", "of the roof"),
                      [(o["op"], o["sizes"], o["direction"], o["device"], f"{o['us_median']:.2f} ({o['us_p10']:.2f}, {o['us_p90']:.2f})",
                        f"{o['gflops']:.0f}", f"{o['gbs']:.0f}", share(o)) for o in ops])]
    probes = figures("probe-")
    if probes:
        text += ["Probes (`benches/gpu/probes.cu`):",
                 rows(("probe", "what", "blocks x threads", "KB", "value"),
                      [(p["probe"], p["what"], f"{p['blocks']} x {p['threads']}", f"{p['kb']:g}", f"{p['value']:.4g} {p['unit']}")
                       for p in probes])]
    text += ["Parts:", rows(("part", "seconds", "status"),
                            [(part["name"], part.get("seconds", ""), part["status"]) for part in results["parts"]])]
    return "\n\n".join(text)


def section():
    paths = sorted(glob.glob("benches/results/*-gpu.json"))
    if not paths:
        return "Not measured yet: `benches/gpu-pack.sh` gathers what `benches/gpu.sh` runs on a machine with a GPU."
    with open(paths[-1]) as file:
        return f"From `{paths[-1]}`, written here by `{COMMAND}`.\n\n" + render(json.load(file))


def main():
    with open(PAGE) as file:
        page = file.read()
    before, rest = page.split(BEGIN)
    new = before + BEGIN + "\n" + section() + "\n" + END + rest.split(END)[1]
    if "--check" in sys.argv:
        sys.exit(0 if new == page else f"{PAGE} is out of date: run {COMMAND}")
    with open(PAGE, "w") as file:
        file.write(new)


if __name__ == "__main__":
    main()
