#!/bin/sh
# Checks and measures mvae-fast on a machine with an NVIDIA GPU, in one call of under 8 minutes; no Rust, no network. Run from
# target/gpu/, which benches/gpu-pack.sh makes. Needs Python; PyTorch, JAX, nvcc and compute-sanitizer are used where found.
#   sh gpu.sh                            everything; results in $OUT (default: results/ beside this file)
#   PARTS="steps peers" sh gpu.sh        only parts whose names begin so
#   DEVICE=cpu sh gpu.sh                 a rehearsal without a GPU: what needs one fails or is skipped, the rest runs, and may
#                                        take longer ($BUDGET seconds in all: 465 with a GPU, 3600 without); STEPS=64 shortens it
cd "$(dirname "$0")" && exec "${PYTHON:-python3}" gpu/gpu.py
