"""Counts instructions of the kernel that runs plans, in machine code for an H200, without a GPU.

    . .ci/toolkit && python3 benches/gpu/sass.py

Prints what docs/engines.md says of instructions. A step is one turn of a product's loop, 16 inner
indices. Its instructions depend on its copies: of 16 bytes where rows are aligned, of 4 elsewhere,
and none after the last. All is counted in code or in the plan; nothing is measured.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = "sm_90a"
KERNEL = "run_plan_bf16x3"


class Instruction:
    def __init__(self, name, frames):
        self.name, self.frames, self.next, self.labels, self.falls = name, frames, [], [], True


def listing(cubin, nvdisasm):
    """The instructions of a cubin's only kernel, each with the places to which control may go."""
    text = subprocess.run([nvdisasm, "-c", "-gi", cubin], check=True, capture_output=True, text=True).stdout
    code, labels, frames, fresh = [], {}, [], False
    for line in map(str.strip, text.splitlines()):
        if label := re.fullmatch(r"(\.L\S*):", line):
            labels[label[1]] = len(code)
        elif place := re.match(r'//## File "(.*?)", line (\d+)', line):
            frames, fresh = (frames if fresh else []) + [(place[1], int(place[2]))], True
        elif found := re.match(r"/\*[0-9a-f]+\*/\s+(@!?U?P\w+ +)?(\S+)(.*?);?$", line):
            fresh = False
            guard, name, rest = found.groups()
            one = Instruction(name, frames)
            if name.startswith(("BRA", "BRX", "JMP")):
                one.labels = re.findall(r"\.L[\w$]+", rest)
                one.falls = bool(guard) or bool(re.match(r"\s*(!?U?P\d|\.DIV|UP)", rest)) or ".DIV" in name
            elif name.startswith(("EXIT", "RET")):
                one.falls = bool(guard)
            code.append(one)
    for at, one in enumerate(code):
        one.next = [at + 1] * (one.falls and at + 1 < len(code)) + [labels[label] for label in one.labels]
    return code


def loops(code):
    """Natural loops: the first instruction of each, with the set of all of them."""
    before = defaultdict(list)
    for at, one in enumerate(code):
        for to in one.next:
            before[to].append(at)
    # Immediate dominators (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm", 2001).
    order, seen, stack = [], {0}, [(0, iter(code[0].next))]
    while stack:
        at, to = stack[-1]
        for other in to:
            if other not in seen:
                seen.add(other)
                stack.append((other, iter(code[other].next)))
                break
        else:
            order.append(at)
            stack.pop()
    number = {at: i for i, at in enumerate(order)}
    over = {0: 0}

    def common(a, b):
        while a != b:
            while number[a] < number[b]:
                a = over[a]
            while number[b] < number[a]:
                b = over[b]
        return a

    changed = True
    while changed:
        changed = False
        for at in reversed(order[:-1]):
            known = [other for other in before[at] if other in over]
            new = known[0]
            for other in known[1:]:
                new = common(new, other)
            changed |= over.get(at) != new
            over[at] = new

    def dominates(a, b):
        while number[b] < number[a]:
            b = over[b]
        return a == b

    found = defaultdict(set)
    for at in order:
        for head in code[at].next:
            if dominates(head, at):
                body, open_ = found[head], [at]
                body.add(head)
                while open_:
                    one = open_.pop()
                    if one not in body:
                        body.add(one)
                        open_ += [other for other in before[one] if other in seen]
    return dict(found)


def paths(code, head, body):
    """The ways once around a loop that reach its products: instructions by copies of 16 and of 4 bytes."""
    ways = set()

    def walk(at, counts):
        while True:
            one = code[at]
            counts = counts[:]
            counts[0] += 1
            counts[1] += one.name.startswith("LDGSTS") and ".128" in one.name
            counts[2] += one.name.startswith("LDGSTS") and ".128" not in one.name
            counts[3] += one.name.startswith("HMMA")
            to = [other for other in one.next if other in body]
            if head in to:
                if counts[3]:
                    ways.add(tuple(counts))
                to = [other for other in to if other != head]
            if not to:
                return
            for other in to[1:]:
                walk(other, counts)
            at = to[0]

    walk(head, [0, 0, 0, 0])
    by_copies = {}
    for instructions, wide, narrow, products in ways:
        key = (wide, narrow)
        by_copies[key] = max(by_copies.get(key, (0, 0)), (instructions, products))
    return by_copies


def function_of(frames, sources={}):
    """The kernel's function into which an instruction was inlined."""
    for file, line in reversed(frames):
        if file.endswith(".cu") and not file.endswith(("run_plan.cu", "kernels.cu")):
            text = sources.setdefault(file, Path(file).read_text().splitlines())
            for at in range(min(line, len(text)) - 1, -1, -1):
                if name := re.match(r"DEVICE \w+ (\w+)\(", text[at]):
                    return name[1]
    return None


def table(head, lines):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(map(str, line)) + " |")


def products(code, known):
    """A line for each loop that multiplies: its function, and its instructions by kind. `known` gets
    those of a step, by function and copies."""
    all_loops = loops(code)
    multiply = {head: body for head, body in all_loops.items() if any(code[at].name.startswith("HMMA") for at in body)}
    inner = {head: body for head, body in multiply.items() if not any(other < body for other in multiply.values())}
    lines = []
    for head, body in inner.items():
        mma = next(at for at in sorted(body) if code[at].name.startswith("HMMA"))
        count = lambda begin: sum(code[at].name.startswith(begin) for at in body)
        steps = sorted(paths(code, head, body).items())
        known[function_of(code[mma].frames)].update({copies: each for copies, (each, _) in steps})
        said = ", ".join(f"{wide} + {narrow}: {instructions}" for (wide, narrow), (instructions, _) in steps)
        lines.append((f"`{function_of(code[mma].frames)}`", len(body), count("LDS"), count("HMMA"), said))
    return sorted(lines)


def walked(plan):
    """Rows of the table, and rows in which an average block has work."""
    rows = [row for phase in plan["phases"] for row in phase["rows"]]
    return len(rows), sum(row["blocks"] for row in rows) / plan["blocks"]


def moved(plan):
    """Bytes that a step's products read, and all that it writes, through the L2 cache. Rows count as aligned."""
    sums = Counter()
    for call in plan["calls"]:
        sums["written"] += sum(tensor["bytes"] for tensor in call["writes"])
        product = call.get("product")
        if not product:
            continue
        down, across = (-(-product[size] // tile) for size, tile in zip(("rows", "cols"), product["tile"]))
        experts, updates = product["experts"], call["kernel"] == "update"
        left = 4 * product["depth"] * product["rows"] * across * (1 if product["blended"] else experts)
        right = 4 * product["depth"] * product["cols"] * down * experts
        sums["operands of updates"] += (left + right) * updates
        sums["activations"] += left * (not updates)
        sums["weights"] += right * (not updates)
        # Moments stay in shared memory.
        weights = [tensor["bytes"] for tensor in call["writes"] if updates and tensor["name"] in ("w", "m", "v")]
        sums["weights of updates"] += sum(weights[:1])
        sums["written"] -= sum(weights[1:])
    return sums


def compared(plan, known):
    """How far the model's instructions of a step are off, for each product of the plan."""
    steps = {(call["kernel"], *call["step"][0], call["step"][1]) for call in plan["calls"] if call.get("step")}
    return [said / known[kernel][wide, narrow] - 1 for kernel, wide, narrow, said in steps]


def main():
    nvcc = os.environ.get("NVCC")
    tools = [Path(nvcc).with_name(name) for name in ("nvcc", "ptxas", "nvdisasm")] if nvcc else []
    missing = [tool.name for tool in tools if not tool.is_file()]
    if not nvcc or missing:
        print(f"sass: skipped, no {', '.join(missing) or 'NVCC'}; `. .ci/toolkit` installs it")
        return
    nvcc, ptxas, nvdisasm = map(str, tools)
    os.chdir(ROOT)
    built = subprocess.run(["cargo", "build", "--quiet", "--message-format", "json"], check=True, capture_output=True, text=True)
    notes = [json.loads(line) for line in built.stdout.splitlines()]
    out = next(note["out_dir"] for note in notes if note["reason"] == "build-script-executed" and "mvae-fast" in note["package_id"])
    program = next(note["executable"] for note in notes if note.get("executable"))
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = f"{folder}/kernel.ptx", f"{folder}/kernel.cubin"
        subprocess.run([nvcc, "-ptx", "-std=c++17", "-O3", "-lineinfo", "-DMAKE=4", "-I", "kernels", "-arch", "compute_80",
                        f"{out}/kernels.cu", "-o", ptx], check=True)
        said = subprocess.run([ptxas, "-v", "-lineinfo", "-arch", ARCHITECTURE, ptx, "-o", cubin], check=True, capture_output=True,
                              text=True).stderr
        code = listing(cubin, nvdisasm)
    resources = ", ".join(re.findall(r"\d+ registers|\d+ bytes (?:spill stores|smem)", said))
    print(f"`{KERNEL}`, {ARCHITECTURE}: {len(code)} instructions, {resources}\n")
    known = defaultdict(dict)
    table(("product", "loop", "LDS", "mma", "a step: copies of 16 B + of 4 B: instructions"), products(code, known))
    plan = json.loads(subprocess.run([program, "plan", "--engine", "persistent", "--position-gain", "1", "--json"], check=True,
                                     capture_output=True, text=True).stdout)
    rows, worked = walked(plan)
    print(f"\n{rows} rows of the table, of which an average block has work in {worked:.1f}")
    sums = moved(plan)
    parts = ", ".join(f"{what} {bytes / 1e6:.1f}" for what, bytes in sums.items())
    print(f"through the L2 cache, {sums.total() / 1e6:.1f} MB a step: {parts}")
    off = compared(plan, known)
    print(f"the model's instructions of a step are {min(off):+.0%} to {max(off):+.0%} off")
    if max(map(abs, off)) > 0.25:
        sys.exit("FAULT more than a quarter: fit STEP in src/backend/persistent/phases/estimate.rs")


if __name__ == "__main__":
    sys.exit(main())
