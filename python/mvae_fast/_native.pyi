from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

_Path = str | PathLike[str]
_Paths = _Path | Sequence[_Path]
_Floats = NDArray[np.float32]

__all__ = [
    "Environment",
    "Error",
    "Model",
    "MotionSet",
    "Skeleton",
    "Walk",
    "__version__",
    "import_bvh",
    "load",
    "read_set",
    "run_command",
]
__version__: str

class Error(Exception): ...

@final
class Skeleton:
    @property
    def names(self) -> list[str]: ...
    @property
    def parents(self) -> list[int]: ...
    @property
    def offsets(self) -> _Floats: ...
    @property
    def toes(self) -> tuple[int, int]: ...
    @property
    def hips(self) -> int: ...
    def __len__(self) -> int: ...

@final
class MotionSet:
    @property
    def frames(self) -> _Floats: ...
    @property
    def clips(self) -> list[tuple[int, int]]: ...
    @property
    def names(self) -> list[str]: ...
    @property
    def fps(self) -> float: ...
    @property
    def skeleton(self) -> Skeleton | None: ...
    @property
    def report(self) -> str | None: ...
    @property
    def refused(self) -> list[str]: ...
    def save(self, path: _Path) -> None: ...

@final
class Walk:
    def step(self, latents: _Floats | None = None) -> _Floats: ...
    @property
    def latents(self) -> _Floats: ...
    @property
    def frames(self) -> int: ...
    @property
    def n(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        raised: BaseException | None = None,
        trace: TracebackType | None = None,
        /,
    ) -> None: ...

@final
class Model:
    def reset(
        self, n: int | None = None, seed: int = 0, *, start: _Floats | None = None, temperature: float = 1.0
    ) -> Walk: ...
    def encode(self, frames: _Floats) -> _Floats: ...
    def positions(self, poses: _Floats) -> _Floats: ...
    @property
    def skeleton(self) -> Skeleton | None: ...
    @property
    def fps(self) -> float: ...
    @property
    def frame_size(self) -> int: ...
    @property
    def latent_size(self) -> int: ...
    @property
    def condition_frames(self) -> int: ...
    @property
    def future_predictions(self) -> int: ...
    @property
    def variant(self) -> str: ...
    @property
    def path(self) -> Path: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        raised: BaseException | None = None,
        trace: TracebackType | None = None,
        /,
    ) -> None: ...

def load(
    run: _Path,
    *,
    data: _Paths | None = None,
    device: str = "auto",
    threads: int | None = None,
    runs: _Path = ...,
) -> Model: ...
def read_set(paths: _Paths) -> MotionSet: ...
def import_bvh(
    paths: _Paths,
    *,
    fps: float = 30.0,
    units: str | None = None,
    up: str | None = None,
    mirror: bool = False,
    threads: int | None = None,
) -> MotionSet: ...

@final
class Environment:
    def __new__(
        cls,
        task: str,
        run: _Path,
        characters: int,
        *,
        keys: Mapping[str, Any] | None = None,
        data: _Paths | None = None,
        device: str = "auto",
        threads: int | None = None,
        runs: _Path = ...,
    ) -> Self: ...
    def reset(self, seed: int) -> _Floats: ...
    def step(
        self, actions: _Floats
    ) -> tuple[_Floats, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], _Floats | None]: ...
    @property
    def characters(self) -> int: ...
    @property
    def observation_size(self) -> int: ...
    @property
    def action_size(self) -> int: ...
    def close(self) -> None: ...

def run_command() -> None: ...
