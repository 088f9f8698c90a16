#!/bin/sh
# Gathers into target/gpu/ all that benches/gpu.sh needs on a machine with a GPU and no Rust:
# programs, tests and benches, probes, golden cases and the peers' scripts. The pack has at most 48
# MiB, and no motion capture in it. It needs nvcc; GOLDEN and PEERS default to ../shared/golden and
# ../shared/peer.
#     benches/gpu-pack.sh
#     FAKE=1 benches/gpu-pack.sh           for a rehearsal: with a driver whose device is the host,
#                                          and stand-ins for the other parts of a GPU machine
#     PROFILE=dev benches/gpu-pack.sh      quicker to build
# Then copy target/gpu/ there and run:  sh gpu/gpu.sh
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
exec "$python" benches/gpu/pack.py
