//! Motion to train on: clips of frames, normalisation, and the start frames a rollout may begin at.
