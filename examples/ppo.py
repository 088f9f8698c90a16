"""Trains a controller with a PPO of 80 lines: a task of mvae_fast as an environment of gymnasium.

    pip install mvae_fast-*.whl gymnasium jax optax
    python examples/ppo.py runs/walk --task joystick --updates 200

Prints the reward of a step and the share of episodes that ended early, every tenth update. The loop
is that of CleanRL's ppo_continuous_action.py (Huang et al. 2022), in JAX. It is no rival of
`mvae-fast control train`; it shows where an algorithm of your own goes.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import mvae_fast.gym
import numpy as np
import optax

GAMMA, LAMBDA, CLIP, EPOCHS, MINIBATCHES = 0.98, 0.95, 0.2, 4, 4


def init(key, sizes, last):
    """Layers of a perceptron; the last one's weights are smaller by `last`."""
    make = jax.nn.initializers.orthogonal(2**0.5)
    keys = jax.random.split(key, len(sizes) - 1)
    layers = [(make(k, shape), jnp.zeros(shape[1])) for k, shape in zip(keys, zip(sizes, sizes[1:]))]
    return layers[:-1] + [(layers[-1][0] * last, layers[-1][1])]


def perceptron(layers, x):
    for weights, bias in layers[:-1]:
        x = jax.nn.elu(x @ weights + bias)
    return x @ layers[-1][0] + layers[-1][1]


def log_density(actor, seen, actions):
    mean, std = perceptron(actor["mean"], seen), jnp.exp(actor["log_std"])
    return -0.5 * jnp.sum(((actions - mean) / std) ** 2 + 2 * actor["log_std"] + jnp.log(2 * jnp.pi), -1)


@jax.jit
def act(p, key, seen):
    mean = perceptron(p["actor"]["mean"], seen)
    actions = mean + jnp.exp(p["actor"]["log_std"]) * jax.random.normal(key, mean.shape)
    return actions, log_density(p["actor"], seen, actions), value(p, seen)


@jax.jit
def value(p, seen):
    return perceptron(p["critic"], seen)[..., 0]


def loss(p, batch):
    seen, actions, before, advantages, returns = batch
    ratio = jnp.exp(log_density(p["actor"], seen, actions) - before)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-5)
    gain = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantages).mean()
    return 0.5 * jnp.mean((value(p, seen) - returns) ** 2) - gain


@partial(jax.jit, static_argnums=0)
def improve(optimizer, p, state, batch):
    change, state = optimizer.update(jax.grad(loss)(p, batch), state, p)
    return optax.apply_updates(p, change), state


def rollout(env, p, seen, key, steps):
    """Steps of all characters: what they saw and did, its log-density, advantages and returns."""
    rows, early = [], 0
    for _ in range(steps):
        key, now = jax.random.split(key)
        actions, density, values = act(p, now, seen)
        after, rewards, terminated, truncated, infos = env.step(np.asarray(actions))
        following = np.array(value(p, after))
        for one in np.flatnonzero(truncated):  # time was out: what comes after would have had a value
            following[one] = value(p, infos["final_obs"][one])
        gains = (1 - GAMMA) * rewards + GAMMA * following * ~terminated - values
        rows.append((seen, actions, density, gains, values, terminated | truncated, rewards))
        seen, early = after, early + terminated.sum()
    seen_, actions, densities, gains, values, done, rewards = map(np.stack, zip(*rows))
    advantages, last = np.zeros_like(gains), 0.0
    for t in reversed(range(steps)):
        advantages[t] = last = gains[t] + GAMMA * LAMBDA * last * ~done[t]
    batch = (seen_, actions, densities, advantages.astype(np.float32), (advantages + values).astype(np.float32))
    flat = [np.asarray(x).reshape(-1, *x.shape[2:]) for x in batch]
    return flat, seen, rewards.mean(), early / done.size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run of a Motion VAE")
    for flag, default in ("task", "joystick"), ("characters", 256), ("steps", 16), ("updates", 200), ("seed", 0):
        parser.add_argument(f"--{flag}", default=default, type=type(default))
    args = parser.parse_args()
    env = mvae_fast.gym.make_vec(args.task, args.run, args.characters, stagger_episodes=True)
    (d,), (a,) = env.single_observation_space.shape, env.single_action_space.shape
    key, *keys = jax.random.split(jax.random.key(args.seed), 3)
    actor = {"mean": init(keys[0], [d, 256, 256, a], 0.01), "log_std": jnp.full(a, jnp.log(0.25))}
    p = {"actor": actor, "critic": init(keys[1], [d, 256, 256, 1], 1.0)}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.linear_schedule(3e-4, 1e-5, args.updates * 16)))
    state, random = optimizer.init(p), np.random.default_rng(args.seed)
    seen, _ = env.reset(seed=args.seed)
    for update in range(1, args.updates + 1):
        key, now = jax.random.split(key)
        batch, seen, reward, early = rollout(env, p, seen, now, args.steps)
        for _ in range(EPOCHS):
            for part in np.array_split(random.permutation(len(batch[0])), MINIBATCHES):
                p, state = improve(optimizer, p, state, [x[part] for x in batch])
        if update % 10 == 0 or update == 1:
            print(f"update {update}: reward {reward:.3f} a step, {early:.2%} of steps ended an episode early", flush=True)


if __name__ == "__main__":
    main()
