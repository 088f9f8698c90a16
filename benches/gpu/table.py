"""Tables of what gpu.py measured. `python3 benches/gpu/table.py` writes the newest results under benches/results into
docs/results.md; with --check it only says whether the page is up to date."""
import glob
import json
import sys

PAGE, BEGIN, END = "docs/results.md", "<!-- gpu: begin -->", "<!-- gpu: end -->"
COMMAND = "python3 benches/gpu/table.py"


def rows(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                      *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def us(ms):
    return f"{1e3 * ms:.1f}"


def heading(results):
    machine, pack = results["machine"], results["pack"]
    gpu = machine.get("gpu") or {}
    return (f"{gpu.get('name', 'no GPU')}, driver {gpu.get('driver_version', 'unknown')}, SM clock {gpu.get('clocks.sm', 'unknown')} at"
            f" the start (at most {gpu.get('clocks.max.sm', 'unknown')}); {machine['cpu']}; torch {machine['torch']}, jax"
            f" {machine['jax']}; {results['date']}, commit {pack['commit']}, `{results['command']}`.")


def figures_of(results, begin):
    return [figure for part in results["parts"] if part["name"].startswith(begin) for figure in part["figures"]]


def clock(figure):
    return figure.get("sm_mhz") or ""


def steps_table(results):
    steps = figures_of(results, "steps-")
    if not steps:
        return []
    return ["Our step, us: a rollout of 8 from launch to end over 8; by the device's clock; with as much in a launch as training asks"
            " for (rollouts in a row; persistent: so many steps).",
            rows(("model", "device", "us a step", "on the device", "in a row", "steps a launch", "calls", "SM MHz"),
                 [(s["variant"], s["device"], us(s["ms_median"]), us(s["device_ms_median"]), us(s["in_a_row_ms_median"]),
                   s["launch_steps"], s["calls"], clock(s)) for s in steps])]


def kernels_table(results):
    """Time of each kernel of a step by itself, for the one engine that reports it."""
    lines = [(s["device"], k["kernel"], k["calls"], f"{k['us']:.1f}") for s in figures_of(results, "steps-")
             if s["variant"] == "mixture" for k in s["by_kernel"]]
    return ["Kernels of the mixture's step, each by itself, 20 in a row:", rows(("device", "kernel", "calls", "us"), lines)] if lines else []


def soak_table(results):
    soaks = figures_of(results, "soak-")
    if not soaks:
        return []
    return ["The same steps taken twice, bit by bit:",
            rows(("device", "steps", "numbers that differ", "of", "us a step", "SM MHz"),
                 [(s["device"], s["steps"], s["different"], s["of"], f"{s['us_a_step']:.1f}", clock(s)) for s in soaks])]


def peers_table(results):
    peers = figures_of(results, "peers-")
    ours = min((step["in_a_row_ms_median"] for step in figures_of(results, "steps-") if step["variant"] == "mixture"), default=None)
    lines = []
    for peer in peers:
        ms = peer.get("result", {}).get("ms_median")
        ratio = f"{ms / ours:.2f}" if ms and ours else ""
        lines.append((peer["impl"], peer["decoder"], peer["mode"], us(ms) if ms else peer["error"].splitlines()[0][:80], ratio, clock(peer)))
    return ["Peers, us a step of rollouts from launch to end, and the ratio to our fastest:",
            rows(("package", "formulation", "mode", "us a step", "ratio to ours", "SM MHz"), lines)] if lines else []


def gradients_table(results):
    checked = [(part["name"].removeprefix("gradcheck-"), figure.get("rows", [])) for part in results["parts"]
               if part["name"].startswith("gradcheck-") for figure in part["figures"]]
    networks = lambda check: [row for row in check if row["tensor"] == "all"]
    if not any(networks(check) for _, check in checked):
        return []
    worst = lambda check, model: max((row for row in check if row["subject"] == model and row["tensor"] != "all"), key=lambda row: float("inf") if row["worst"] is None else row["worst"])
    return ["Gradients of one step, |gradient - that in f64| / |that in f64| (docs/math.md):",
            rows(("network", "precision", "all", "worst tensor"),
                 [(one["subject"], precision, f"{one['worst']:.1e}",
                   f"{worst(check, one['subject'])['worst']:.1e} {worst(check, one['subject'])['tensor']}")
                  for precision, check in checked for one in networks(check)])]


def ops_table(results):
    ops = figures_of(results, "ops-")
    share = lambda op: "" if op["roof_percent"] is None else f"{op['roof_percent']:.0f} %"
    return ["Operations, 20 in a row:",
            rows(("operation", "sizes", "direction", "device", "us (p10, p90)", "GFLOP/s", "GB/s", "of the roof", "SM MHz"),
                 [(o["op"], o["sizes"], o["direction"], o["device"], f"{o['us_median']:.2f} ({o['us_p10']:.2f}, {o['us_p90']:.2f})",
                   f"{o['gflops']:.0f}", f"{o['gbs']:.0f}", share(o), clock(o)) for o in ops])] if ops else []


def probes_table(results):
    probes = figures_of(results, "probe-")
    return ["Probes (`benches/gpu/probes.cu`):",
            rows(("probe", "what", "blocks x threads", "KB", "value", "SM MHz"),
                 [(p["probe"], p["what"], f"{p['blocks']} x {p['threads']}", f"{p['kb']:g}", f"{p['value']:.4g} {p['unit']}", clock(p))
                  for p in probes])] if probes else []


def timeline_table(results):
    """Times of a step of one launch, row by row of its table of calls."""
    rows_of = [figure for figure in figures_of(results, "timeline") if "row" in figure]
    return ["The timeline of a step in one launch, cycles: a row's work by the mean and the slowest block, and its wait:",
            rows(("row", "kernel", "late", "work", "slowest", "fetch", "wait"),
                 [(r["row"], r["kernel"], r["late"], f"{r['work']:.0f}", f"{r['slowest']:.0f}", f"{r['fetch']:.0f}", f"{r['wait']:.0f}")
                  for r in rows_of])] if rows_of else []


def parts_table(results):
    mhz = lambda part: "{} to {}".format(*part["clock"]["mhz"][::2]) if part.get("clock") else ""
    return ["Parts:", rows(("part", "seconds", "of", "SM MHz", "status"),
                           [(part["name"], part.get("seconds", ""), part["limit_s"], mhz(part), part["status"])
                            for part in results["parts"]])]


def render(results):
    """All tables of one run."""
    tables = (parts_table, soak_table, steps_table, kernels_table, timeline_table, peers_table, gradients_table, ops_table, probes_table)
    return "\n\n".join([heading(results), *(text for make in tables for text in make(results))])


def summary(results):
    """The last lines of the output, as they alone may be seen: failures with their last words, and the step at the very
    end."""
    failed = [f"{part['name']}: {' / '.join(part.get('said', '').splitlines()[-2:])[-250:]}" for part in results["parts"]
              if part["status"].startswith("failed")]
    tables = (parts_table, peers_table, soak_table, steps_table)
    return "\n\n".join([*failed, heading(results), *(text for make in tables for text in make(results))])


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
