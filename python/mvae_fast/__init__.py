"""Motion VAEs: walks of trained models, sets of motion, and environments for controllers.

Arrays are float32 and C-contiguous. Poses are in the units of the data: feet and radians. N are
frames, n characters, F features of a frame, L numbers of a latent, J joints. docs/features.md
describes the features, docs/python.md shows the module at work.
"""

from ._native import (
    Error,
    Model,
    MotionSet,
    Skeleton,
    Walk,
    __version__,
    import_bvh,
    load,
    read_set,
)

__all__ = ["Error", "Model", "MotionSet", "Skeleton", "Walk", "__version__", "import_bvh", "load", "read_set"]
