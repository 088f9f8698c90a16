#!/bin/sh
# Gathers into target/gpu/ all that benches/gpu.sh needs on a machine with a GPU and no Rust:
# programs, tests and benches, probes, golden cases and the peers' scripts; at most 30 MiB, and no
# motion capture in it.
#   benches/gpu-pack.sh
#   (needs nvcc in reach; GOLDEN and PEERS default to ../shared/golden and ../shared/peer)
#   FAKE=1 benches/gpu-pack.sh
#   for a rehearsal: with a driver whose device is the host, and what else stands for a GPU
#   PROFILE=dev benches/gpu-pack.sh      quicker to build
# Then copy target/gpu/ there and run:  sh gpu/gpu.sh
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
exec "$python" benches/gpu/pack.py
