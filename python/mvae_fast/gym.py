"""The tasks of `mvae-fast control` as environments of gymnasium.

An observation [D] is the pose and what the task asks for; an action [A] becomes the next latent.
docs/controllers.md describes the tasks. Needs gymnasium 1.1 or newer (`mvae-fast[gym]`).
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ._native import Environment

__all__ = ["CharacterEnv", "CharacterVectorEnv", "make", "make_vec"]


def make_vec(task: str, run: Any, num_envs: int = 1, **options: Any) -> "CharacterVectorEnv":
    """`num_envs` characters that do `task` in the decoder of the run `run`.

    `options` are `data`, `device`, `threads` and `runs`, as `mvae_fast.load` takes them, and the keys
    of `mvae-fast control train` that describe the surroundings: `horizon` (steps of an episode),
    `path`, `path_pace`, `maze`, `lower`, `units`, `top_speed`, `frame_skip`, `stagger_episodes`,
    `normalize_observations`, `literal`.

    Raises `ValueError` for an unknown task or option, `mvae_fast.Error` for a run that cannot be used.
    """
    return CharacterVectorEnv(task, run, num_envs, **options)


def make(task: str, run: Any, **options: Any) -> "CharacterEnv":
    """One character that does `task` in the decoder of the run `run`; `options` are those of `make_vec`."""
    return CharacterEnv(task, run, **options)


def _open(task: str, run: Any, characters: int, options: dict[str, Any]) -> Environment:
    own = {name: options.pop(name) for name in ("data", "device", "threads", "runs") if name in options}
    return Environment(task, run, characters, keys=options, **own)


def _spaces(environment: Environment) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    seen = gymnasium.spaces.Box(-np.inf, np.inf, (environment.observation_size,), np.float32)
    return seen, gymnasium.spaces.Box(-1.0, 1.0, (environment.action_size,), np.float32)


class CharacterVectorEnv(VectorEnv):
    """Characters side by side, in one decoder.

    One whose episode ends starts anew in the same step (`AutoresetMode.SAME_STEP`): its observation
    is that of the new start, and `infos["final_obs"]` has the one in which its episode ended.
    Episodes end when time is out (truncated) and in the task's own ways (terminated).
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, task: str, run: Any, num_envs: int = 1, **options: Any):
        self._environment = _open(task, run, num_envs, options)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = _spaces(self._environment)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Puts every character at a start; the same `seed` makes the same episodes."""
        super().reset(seed=seed)
        return self._environment.reset(_draw(self.np_random)), {}

    def step(self, actions):
        """Carries out actions [num_envs, A] float32."""
        seen, rewards, terminated, truncated, last = self._environment.step(actions)
        return seen, rewards, terminated, truncated, {} if last is None else _final(last, terminated | truncated)

    def close_extras(self, **_: Any) -> None:
        """Frees the characters."""
        self._environment.close()


class CharacterEnv(gymnasium.Env):
    """One character in a decoder, for algorithms that know single environments only."""

    metadata = {"render_modes": []}

    def __init__(self, task: str, run: Any, **options: Any):
        self._environment = _open(task, run, 1, options)
        self.observation_space, self.action_space = _spaces(self._environment)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Puts the character at a start; the same `seed` makes the same episode."""
        super().reset(seed=seed)
        return self._environment.reset(_draw(self.np_random))[0], {}

    def step(self, action):
        """Carries out an action [A] float32."""
        seen, rewards, terminated, truncated, last = self._environment.step(action[None])
        seen = seen if last is None else last
        return seen[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}

    def close(self) -> None:
        """Frees the character."""
        self._environment.close()


def _draw(random: np.random.Generator) -> int:
    """The seed of the next episodes."""
    return int(random.integers(2**63))


def _final(last: np.ndarray, done: np.ndarray) -> dict[str, Any]:
    """The infos of a step in which episodes ended, in the form of gymnasium's own environments."""
    final = np.full(len(done), None, dtype=object)
    for character in np.flatnonzero(done):
        final[character] = last[character]
    return {"final_obs": final, "_final_obs": done, "final_info": {}, "_final_info": done}
