#!/bin/sh
# Gathers into target/gpu/ all that benches/gpu.sh needs on a machine with a GPU and no Rust: programs, tests and benches,
# probes, golden cases and the peers' scripts; under 60 MiB, and no motion capture in it.
#   benches/gpu-pack.sh                  (needs nvcc in reach; GOLDEN and PEERS default to ../shared/golden and ../shared/peer)
#   PROFILE=dev benches/gpu-pack.sh      quicker to build, for a rehearsal
# Then copy target/gpu/ there and run:  sh gpu/gpu.sh
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
exec "$python" benches/gpu/pack.py
