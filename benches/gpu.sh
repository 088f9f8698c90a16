#!/bin/sh
# Checks and measures mvae-fast on a machine with an NVIDIA GPU, in one call of at most 9 minutes,
# without Rust or a network. Run it from target/gpu/, which benches/gpu-pack.sh makes. It needs
# Python, and uses PyTorch, JAX, ncu and compute-sanitizer where found.
#     sh gpu.sh                            everything; three files in $OUT
#                                          (default: results/ beside this file)
#     PARTS="steps peers" sh gpu.sh        only parts whose names begin so
#     BUDGET=300 sh gpu.sh                 refused where the parts' limits add up to more seconds
#     FAKE=1 sh gpu.sh                     a rehearsal on this machine, of a pack that was made with
#                                          FAKE=1: every part, small
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
[ ! -f pack.tar.xz ] || "$python" -c 'import tarfile; tarfile.open("pack.tar.xz").extractall(filter="tar")'
exec "$python" gpu/gpu.py
