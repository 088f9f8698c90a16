#!/bin/sh
# Our training step beside the PyTorch and JAX peers, measured in turn: see benches/peers.py.
#   benches/peers.sh
#   PYTHON=venv/bin/python THREADS=2 ROUNDS=5 STEPS=600 benches/peers.sh
# PYTHON has torch and jax (a peer without its package is skipped), PEERS is the folder of the peers' scripts.
cd "$(dirname "$0")/.." && exec "${PYTHON:-python3}" benches/peers.py
