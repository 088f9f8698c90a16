"""Environments beside gymnasium's own checks, and beside what its documents promise."""

import mvae_fast
import mvae_fast.gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import ClipAction, RecordEpisodeStatistics

TASKS = ["target", "joystick", "path", "walk", "face"]


def actions(env, random):
    return random.normal(0.0, 0.25, env.action_space.shape).astype(np.float32)


@pytest.mark.filterwarnings("ignore:.*(infinity|spec):UserWarning")
@pytest.mark.parametrize("task", TASKS)
def test_a_single_character_passes_gymnasiums_checks(run, task):
    check_env(mvae_fast.gym.make(task, run, horizon=20))


@pytest.mark.parametrize("task", TASKS)
def test_characters_start_anew_in_the_step_in_which_their_time_is_out(run, task):
    env, random = mvae_fast.gym.make_vec(task, run, num_envs=5, horizon=7), np.random.default_rng(0)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    seen, infos = env.reset(seed=3)
    assert seen in env.observation_space and infos == {}
    for step in range(1, 22):
        seen, rewards, terminated, truncated, infos = env.step(actions(env, random))
        assert seen in env.observation_space and seen.dtype == np.float32
        assert rewards.shape == (5,) and rewards.dtype == np.float64
        assert truncated.all() == (step % 7 == 0) and terminated.dtype == np.bool_
        done = terminated | truncated
        assert ("final_obs" in infos) == done.any()
        if step % 7 == 0:
            final = np.stack(list(infos["final_obs"]))
            assert final in env.observation_space and not np.array_equal(final, seen)
            assert infos["_final_obs"].all()
    env.close()


def test_the_same_seed_makes_the_same_episodes(run):
    envs = [mvae_fast.gym.make_vec("joystick", run, num_envs=4, horizon=10) for _ in range(2)]
    for seed in (3, None):
        assert data_equivalence(*[env.reset(seed=seed) for env in envs], exact=True)
        random = np.random.default_rng(1)
        for _ in range(25):
            act = actions(envs[0], random)
            assert data_equivalence(*[env.step(act) for env in envs], exact=True)
    first, second = envs[0].reset(seed=5)[0], envs[0].reset()[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(first, envs[0].reset(seed=5)[0])


def test_wrappers_of_gymnasium_count_episodes(run):
    env = RecordEpisodeStatistics(ClipAction(mvae_fast.gym.make_vec("joystick", run, num_envs=3, horizon=6)))
    env.reset(seed=0)
    random, total = np.random.default_rng(0), np.zeros(3)
    for _ in range(6):
        _, rewards, _, _, infos = env.step(actions(env, random))
        total += rewards
    assert np.allclose(infos["episode"]["r"], total) and (infos["episode"]["l"] == 6).all()


def test_wrong_arguments_are_refused(run):
    for options, kind, message in [
        ({"task": "fly"}, ValueError, "there is no task \"fly\"; expected one of target, joystick"),
        ({"num_envs": 0}, mvae_fast.Error, "characters is 0"),
        ({"learning_rate": 1.0}, ValueError, "an environment has no learning_rate"),
        ({"horizon": "long"}, mvae_fast.Error, "horizon"),
        ({"horizon": -1}, mvae_fast.Error, "horizon"),
        ({"horizon": None}, TypeError, "horizon is a NoneType"),
        ({"task": "maze"}, mvae_fast.Error, "lower"),
        ({"run": "nowhere"}, mvae_fast.Error, "no such file"),
    ]:
        with pytest.raises(kind, match=message):
            mvae_fast.gym.make_vec(**{"task": "joystick", "run": run, "num_envs": 2, **options})
    env = mvae_fast.gym.make_vec("joystick", run, num_envs=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected \[2, 8\]"):
        env.step(np.zeros((3, 8), np.float32))
    with pytest.raises(TypeError, match="expected float32"):
        env.step(np.zeros((2, 8)))
    env.close()
    with pytest.raises(ValueError, match="this environment is closed"):
        env.step(np.zeros((2, 8), np.float32))
