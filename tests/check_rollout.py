"""Compares the decoder of examples/rollout.py with a golden case: python tests/check_rollout.py"""

import pathlib
import sys

import numpy as np

root = pathlib.Path(__file__).parent
sys.path.insert(0, str(root.parent / "examples"))
import rollout  # noqa: E402

arrays = np.load(root / "golden/mixture_multi/arrays.npz")
parameters = {name[len("param.") :]: arrays[name] for name in arrays.files if name.startswith("param.")}
condition = arrays["cond"].reshape(len(arrays["cond"]), -1)
ours = rollout.decode(parameters, arrays["sample_action"], condition)
golden = arrays["sample_output"].reshape(ours.shape)
error = np.abs(ours - golden).max() / np.abs(golden).max()
assert error < 1e-11, error
print(f"examples/rollout.py agrees with the golden case to {error:.0e}")
