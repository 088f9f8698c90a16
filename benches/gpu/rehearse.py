"""Makes a pack, runs gpu.sh over the driver of the tests, and checks the results.

Every part has to run, those that go wrong on purpose have to be reported, and the files have to fit the limits.
PROFILE as for gpu-pack.sh; needs nvcc, a C++ compiler and no GPU.
"""
import json
import os
import subprocess
import sys
import tarfile
import tempfile

# Limits on what comes back of a call on a machine with a GPU: number of files, bytes of each, and
# the end of the output.
FILES, BYTES, SAID = 8, 16 << 20, 12_000
WRONG = {"probe-multicast": "failed: took more than", "probe-bulk": "failed: exit code 3"}


def main():
    environment = os.environ | {"FAKE": "1", "PYTHON": sys.executable}
    subprocess.run(["sh", "benches/gpu-pack.sh"], env=environment, check=True)
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(["sh", "target/gpu/gpu.sh"], env=environment | {"OUT": out}, stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        names = os.listdir(out)
        sizes = [os.path.getsize(f"{out}/{name}") for name in names]
        assert len(names) <= FILES and max(sizes) <= BYTES, names
        results, archive = (next(f"{out}/{name}" for name in names if name.endswith(end)) for end in (".json", ".tar.gz"))
        with open(results) as file:
            results = json.load(file)
        with tarfile.open(archive) as file:
            kept = set(file.getnames())
        with open(f"{out}/gpu.md") as file:
            tables = file.read()
    parts = {part["name"]: part for part in results["parts"]}
    for name, part in parts.items():
        want = WRONG.get(name, "ok")
        assert part["status"].startswith(want), f"{name}: {part['status']}\n{part.get('said', '')}"
        assert f"{name}/log" in kept, f"{name} left no log"
        assert part["clock"]["mhz"], f"{name}: no clock"
    assert done.returncode == 1, done.returncode
    for begin in ("steps-", "soak-", "ops-", "probe-", "timeline", "gradcheck-", "peers-", "train"):
        figures = [figure for name, part in parts.items() if name.startswith(begin) for figure in part["figures"]]
        assert figures and all(figure["sm_mhz"] for figure in figures), begin
    assert all(name in tables for name in ("Our step", "bit by bit", "timeline of a step", "Peers", "Gradients", "Operations", "Probes"))
    assert any(name.endswith("report.ncu-rep") for name in kept) and any(name.endswith("source.csv") for name in kept), kept
    end = done.stdout[done.stdout.index("| part |"):]
    assert len(end) < SAID and end.rindex("Our step") > end.rindex("bit by bit"), len(end)
    # No process that a part started outlives it.
    assert not subprocess.run(["pgrep", "-f", "^sleep 3607$"], stdout=subprocess.PIPE).stdout, "a part's process still runs"
    print(f"rehearsal: {len(parts)} parts in {results['seconds']} s, {len(names)} files of {sum(sizes) >> 10} KB come back")


main()
