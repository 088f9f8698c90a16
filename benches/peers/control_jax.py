"""JAX peer of learning by gradients through the decoder: the joystick as `control train` learns it by default.

One compiled function makes a rollout of 64 steps of 32 characters: policy, mixture decoder (the experts of a layer as one
product), position filter, root, reward, costs of feet and of standing, observation, and the critic's value of each
observation. Another one adds the gradient of the actor. Prints one line of JSON with the medians of both, in microseconds of
a character's step. Weights are random (a decoder that was never trained costs the same), poses as large as real ones.
"""
import argparse
import json
import os
import statistics
import time

A = argparse.ArgumentParser()
A.add_argument("--characters", type=int, default=32)
A.add_argument("--steps", type=int, default=64)
A.add_argument("--rollouts", type=int, default=10)
A.add_argument("--threads", type=int, default=2)
a = A.parse_args()
os.environ["JAX_PLATFORMS"] = "cpu"
if a.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax  # noqa: E402 (the environment comes first)
import jax.numpy as jnp  # noqa: E402

FRAME, LATENT, HIDDEN, GATE, EXPERTS, JOINTS = 267, 32, 256, 64, 6, 22
OBSERVATION = FRAME + 2
GAMMA, SCALE, PRIOR, CORRELATION = 0.98, 0.02, 0.003, 0.95
TOP, TURN, PACE, HORIZON = 0.8, 120, 240, 1200
METRES, FPS, TOES, SKATE, STAND = 0.3048, 30.0, (16, 20), 0.2, 1.0
GAIN = (FRAME / 2) ** 0.25
PLACES, VELOCITIES = slice(3, 3 + 3 * JOINTS), slice(3 + 3 * JOINTS, 3 + 6 * JOINTS)


def layer(key, inputs, outputs):
    return jax.random.normal(key, (inputs, outputs)) * 0.3 / inputs**0.5, jnp.full(outputs, 0.01)


def layers(key, sizes):
    return [layer(k, *pair) for k, pair in zip(jax.random.split(key, len(sizes)), zip(sizes, sizes[1:]))]


def perceptron(weights, x, act):
    for w, b in weights[:-1]:
        x = act(x @ w + b)
    return x @ weights[-1][0] + weights[-1][1]


def decoder(key):
    gate, *experts = jax.random.split(key, 4)
    widths = ((LATENT + FRAME, HIDDEN), (LATENT + HIDDEN, HIDDEN), (LATENT + HIDDEN, FRAME))
    return {"gate": layers(gate, (LATENT + FRAME, GATE, GATE, EXPERTS)),
            "experts": [layer(k, i, EXPERTS * o) for k, (i, o) in zip(experts, widths)],
            "scale": jnp.full(FRAME, 0.3), "shift": jnp.full(FRAME, 0.01), "share": jnp.full((JOINTS, 3), 0.1)}


def turned(v, angle):
    """v [P, ..., 2] turned by angle [P]."""
    angle = angle.reshape(-1, *[1] * (v.ndim - 2))
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack((c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]), -1)


def predicted(d, z, pose):
    """The next frame, in the data's units, with places that follow velocities; and the places that velocities lead to."""
    x = jnp.concatenate((z, pose), 1)
    gate = jax.nn.softmax(perceptron(d["gate"], x, jax.nn.elu))
    h = pose
    for i, (w, b) in enumerate(d["experts"]):
        each = (jnp.concatenate((z, h), 1) @ w + b).reshape(len(z), EXPERTS, -1)
        h = jnp.einsum("pe,peo->po", gate, each)
        h = jax.nn.elu(h) if i < 2 else h
    now, before = (y * d["scale"] + d["shift"] for y in (h, pose))
    place, velocity, old = (y.reshape(-1, JOINTS, 3) for y in (now[:, PLACES], now[:, VELOCITIES], before[:, PLACES]))
    ground = turned(old[..., ::2] - now[:, None, :2], now[:, 2])
    seen = jnp.stack((ground[..., 0], old[..., 1], ground[..., 1]), -1)
    place = d["share"] * place + (1 - d["share"]) * (seen + velocity)
    return jnp.concatenate((now[:, :3], place.reshape(-1, 3 * JOINTS), now[:, VELOCITIES.start:]), 1), place - seen


def sliding(height, velocity):
    square = jnp.square(velocity).sum(-1)
    far = square / 0.0225 + jnp.square(jax.nn.relu(height - 0.02) / 0.02)
    m = jax.nn.relu(-0.2 * (jax.nn.logsumexp(-far / 0.2, axis=1) - jnp.log(2.0)))
    return m / (1 + m) + (jax.nn.sigmoid((0.03 - height) / 0.005) * square / (square + 0.04)).sum(1)


def costs(frame, moved, asked):
    toes = jnp.array(TOES)
    height = METRES * frame[:, PLACES].reshape(-1, JOINTS, 3)[:, toes, 1]
    kinds = frame[:, VELOCITIES].reshape(-1, JOINTS, 3)[:, toes, ::2], moved[:, toes, ::2]
    skate = sum(sliding(height, METRES * FPS * kind) for kind in kinds) / 2
    speed = METRES * FPS * jnp.sqrt(jnp.square(frame[:, :2]).sum(1) + 1e-6)
    return SKATE * skate + STAND * jax.nn.relu(jnp.exp(-4 * speed) - jnp.exp(-4 * METRES * FPS * asked))


def observed(s):
    angle, speed = s["direction"] + s["facing"], 8 / TOP * s["speed"]
    bearing = jnp.stack((jnp.cos(angle), jnp.sin(angle)), 1)
    return jnp.concatenate((s["pose"], GAIN * jnp.log1p(speed)[:, None] * bearing), 1)


def step(d, s, z, key):
    frame, moved = predicted(d, z, s["pose"])
    facing = s["facing"] + frame[:, 2]
    root = s["root"] + turned(frame[:, :2], -s["facing"])
    off = s["speed"] - jnp.sqrt(jnp.square(frame[:, :2]).sum(1) + 1e-12)
    reward = jnp.exp(jnp.cos(s["direction"] + facing) - 1 - 0.8 / TOP * jnp.abs(off)) - costs(frame, moved, s["speed"])
    time = s["time"] + 1
    now = dict(s, pose=(frame - d["shift"]) / d["scale"], facing=facing, root=root, time=time % HORIZON)
    ends = time % TURN == 0
    u = jax.random.uniform(key, (2, len(ends)))
    anew = dict(direction=jnp.where(ends, 2 * jnp.pi * u[0], s["direction"]),
                speed=jnp.where(time % PACE == 0, jnp.floor(9 * u[1]) / 8 * TOP, s["speed"]))
    cut = {k: jnp.where(ends.reshape(-1, *[1] * (x.ndim - 1)), jax.lax.stop_gradient(x), x) for k, x in now.items()}
    return now, dict(cut, **anew), reward, ends


def loss(actor, critic, d, s, key, spread):
    def one(carry, key):
        (s, share), (a, b) = carry, jax.random.split(key)
        mean = jnp.tanh(perceptron(actor, observed(s), jax.nn.relu))
        noise = CORRELATION * s["noise"] + (1 - CORRELATION**2) ** 0.5 * jax.random.normal(a, mean.shape)
        now, then, reward, ends = step(d, s, 4 * jnp.clip(mean + spread * noise, -1, 1), b)
        value = perceptron(critic, observed(now), jax.nn.relu)[:, 0]
        gain = jnp.where(ends, share * value / SCALE, share * reward)
        share = jnp.where(ends, 1.0, GAMMA * share)
        return (dict(then, noise=noise), share), (gain, jnp.square(mean).sum(1), jax.lax.stop_gradient((reward, value)))
    start = s, jnp.ones(len(s["time"]))
    (s, share), (gain, squares, kept) = jax.lax.scan(one, start, jax.random.split(key, a.steps))
    last = perceptron(critic, observed(s), jax.nn.relu)[:, 0]
    return -(gain.sum(0) + share * last / SCALE).mean() / a.steps + 8 * PRIOR * squares.mean(), (s, kept)


def main():
    keys, p = jax.random.split(jax.random.key(0), 6), a.characters
    d, actor = decoder(keys[0]), layers(keys[1], (OBSERVATION, 256, 256, 256, LATENT))
    critic = layers(keys[2], (OBSERVATION, 256, 256, 256, 1))
    s = dict(pose=jax.random.normal(keys[3], (p, FRAME)), root=jnp.zeros((p, 2)), facing=jnp.zeros(p),
             direction=jnp.linspace(0.0, 6.0, p), speed=jnp.linspace(0.0, TOP, p),
             time=jnp.arange(p) * HORIZON // p, noise=jax.random.normal(keys[4], (p, LATENT)))
    made = {"forward": jax.jit(loss), "gradient": jax.jit(jax.value_and_grad(loss, has_aux=True))}
    result = {"impl": "jax", "characters": p, "steps": a.steps, "threads": a.threads}
    for name, function in made.items():
        state, times = s, []
        for i in range(a.rollouts + 2):
            begun = time.perf_counter()
            out = jax.block_until_ready(function(actor, critic, d, state, jax.random.fold_in(keys[5], i), 0.25))
            times.append(1e6 * (time.perf_counter() - begun) / (p * a.steps))
            (value, (state, _)) = out if name == "forward" else out[0]
            assert jnp.isfinite(value)
        result[f"{name}_us"] = statistics.median(times[2:])
    print(json.dumps(result))


main()
