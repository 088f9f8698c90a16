#!/bin/sh
# Measures our program beside the PyTorch and JAX peers, in turn: see benches/peers.py.
#     benches/peers.sh            the full-size training step
#     benches/peers.sh control    training a controller by trial and error
#     benches/peers.sh gradients  the same by gradients through the decoder
#     PYTHON=venv/bin/python THREADS=2 ROUNDS=5 STEPS=600 benches/peers.sh
#     PYTHON=venv/bin/python THREADS=2 ROUNDS=5 UPDATES=3 benches/peers.sh control
#     PYTHON=venv/bin/python THREADS=1 ROUNDS=5 UPDATES=10 benches/peers.sh gradients
# PYTHON has torch and jax (a peer without its package is skipped), PEERS is the folder of the
# training step's peers.
cd "$(dirname "$0")/.." && exec "${PYTHON:-python3}" benches/peers.py "$@"
