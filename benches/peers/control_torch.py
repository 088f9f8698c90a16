"""PyTorch peer of `mvae-fast control train`: the Target task on a frozen mixture decoder, PPO as the public
implementation sets it (100 characters, mini-batches of 1000, 10 epochs).

    control_torch.py --style reference    as the public code is written: eager, the experts' weights blended for each
                                          character, the critic in the stepping loop, losses read after every step
    control_torch.py --style good         vectorised and compiled (inductor), the experts as one product of inputs scaled
                                          by the gate, the critic once over all observations, fused Adam, nothing read

Prints one line of JSON: medians of an environment step (policy, decoder, task, storage), of an optimizer step, and the time
of whole updates. Weights are random (a decoder that was never trained costs the same), observations as large as real ones.
"""
import argparse
import json
import math
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

FRAME, LATENT, HIDDEN, GATE, EXPERTS, JOINTS = 267, 32, 256, 64, 6, 22
OBSERVATION = FRAME + 2
GAMMA, LAMBDA, CLIP = 0.99, 0.95, 0.2


class Decoder(nn.Module):
    """The mixture decoder; `folded`: one product of inputs scaled by the gate, else weights blended for each row."""

    def __init__(self, folded):
        super().__init__()
        self.folded = folded
        widths = ((LATENT + FRAME, HIDDEN), (LATENT + HIDDEN, HIDDEN), (LATENT + HIDDEN, FRAME))
        self.w = nn.ParameterList(nn.Parameter(torch.randn(EXPERTS, a, b) * 0.3 / math.sqrt(a)) for a, b in widths)
        self.b = nn.ParameterList(nn.Parameter(torch.full((EXPERTS, b), 0.01)) for _, b in widths)
        self.gate = nn.Sequential(nn.Linear(LATENT + FRAME, GATE), nn.ELU(), nn.Linear(GATE, GATE), nn.ELU(),
                                  nn.Linear(GATE, EXPERTS))

    def forward(self, z, c):
        g = F.softmax(self.gate(torch.cat((z, c), 1)), 1)
        h = c
        for layer, (w, b) in enumerate(zip(self.w, self.b)):
            x = torch.cat((z, h), 1)
            if self.folded:
                scaled = (g.unsqueeze(2) * x.unsqueeze(1)).flatten(1)
                h = torch.addmm(g @ b, scaled, w.flatten(0, 1))
            else:
                mixed = (g @ w.flatten(1)).view(len(x), *w.shape[1:])
                h = torch.baddbmm((g @ b).unsqueeze(1), x.unsqueeze(1), mixed).squeeze(1)
            h = F.elu(h) if layer < 2 else h
        return h


def perceptron(out):
    sizes = (OBSERVATION, 256, 256, 256, out)
    layers = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers += [nn.Linear(a, b)] + ([nn.ReLU()] if i < 3 else [])
    return nn.Sequential(*layers)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor, self.critic = perceptron(LATENT), perceptron(1)
        self.logstd = nn.Parameter(torch.zeros(LATENT))

    def mean(self, observation):
        return torch.tanh(self.actor(observation))


def turned(v, angle):
    """v [P, 2] turned by angle [P, 1]."""
    c, s = angle.cos(), angle.sin()
    return torch.cat((c * v[:, :1] - s * v[:, 1:], s * v[:, :1] + c * v[:, 1:]), 1)


def moved(frame, root, facing, target):
    """A predicted frame applied: place, facing, distance of the target, energy of the frame."""
    facing = facing + frame[:, 2:3]
    root = root + turned(frame[:, :2], facing)
    distance = (target - root).norm(dim=1, keepdim=True)
    velocities = frame[:, 3 + 3 * JOINTS:3 + 6 * JOINTS]
    energy = -0.8 * (frame[:, :3].square().sum(1, keepdim=True) + velocities.square().mean(1, keepdim=True))
    return root, facing, distance, energy


def observed(frame, root, facing, target):
    return torch.cat((frame, turned(target - root, -facing)), 1)


def drawn(p):
    return (torch.rand(p, 2) - 0.5) * torch.tensor([120.0, 80.0])


class World:
    """The characters, stepped as the public code does: one small operation after the other, and a look at who is done."""

    def __init__(self, p):
        self.p, self.root, self.facing = p, torch.zeros(p, 2), torch.zeros(p, 1)
        self.frame, self.target = torch.randn(p, FRAME) * 0.3, drawn(p)
        self.average, self.std = torch.zeros(FRAME), torch.full((FRAME,), 0.3)
        self.feet = torch.ones(p, 2, 6)
        self.distance = (self.target - self.root).norm(dim=1, keepdim=True)

    def observation(self):
        return observed(self.frame, self.root, self.facing, self.target)

    def step(self, decoder, action):
        with torch.no_grad():
            condition = (self.frame - self.average) / self.std
            self.frame = decoder(4.0 * action, condition) * self.std + self.average
            self.root, self.facing, distance, energy = moved(self.frame, self.root, self.facing, self.target)
            toes = self.frame[:, 3:3 + 3 * JOINTS].view(-1, JOINTS, 3)[:, [16, 20]].flatten(1)
            self.feet = torch.stack((toes, self.feet[:, 0]), 1)
            hit = distance < 2.0
            reward = (self.distance - distance) + 20.0 * hit.float() + energy
            if hit.any():
                self.target = torch.where(hit, drawn(self.p), self.target)
                distance = (self.target - self.root).norm(dim=1, keepdim=True)
            self.distance = distance
            return self.observation(), reward


def good_step(decoder, policy, average, std, frame, root, facing, target, distance, noise, fresh):
    """Observation to the next one, whole: what the good peer compiles."""
    observation = observed(frame, root, facing, target)
    mean = policy.mean(observation)
    action = (mean + policy.logstd.exp() * noise).clamp(-1, 1)
    density = -0.5 * ((action - mean) * (-policy.logstd).exp()).square() - policy.logstd - 0.5 * math.log(2 * math.pi)
    frame = decoder(4.0 * action, (frame - average) / std) * std + average
    root, facing, now, energy = moved(frame, root, facing, target)
    hit = now < 2.0
    reward = (distance - now) + 20.0 * hit + energy
    target = torch.where(hit, fresh, target)
    now = (target - root).norm(dim=1, keepdim=True)
    return frame, root, facing, target, now, observation, action, density.sum(1, keepdim=True), reward


def loss(policy, observation, action, old, returns, advantage):
    mean, value = policy.mean(observation), policy.critic(observation)
    density = -0.5 * ((action - mean) * (-policy.logstd).exp()).square() - policy.logstd - 0.5 * math.log(2 * math.pi)
    ratio = (density.sum(1, keepdim=True) - old).exp()
    surrogate = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
    return (returns - value).square().mean() - surrogate.mean()


def reference_loss(policy, observation, action, old, returns, advantage):
    value = policy.critic(observation)
    dist = torch.distributions.Normal(policy.mean(observation), policy.logstd.exp())
    density, entropy = dist.log_prob(action).sum(1, keepdim=True), dist.entropy().sum(1).mean()
    ratio = torch.exp(density - old)
    surrogate = torch.min(ratio * advantage, torch.clamp(ratio, 1 - CLIP, 1 + CLIP) * advantage)
    value_loss, action_loss = (returns - value).pow(2).mean(), -surrogate.mean()
    return value_loss, action_loss, entropy


def estimate(values, rewards):
    """Generalised advantages over [T, P, 1] rewards and [T + 1, P, 1] values."""
    returns, running = torch.empty_like(rewards), torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + GAMMA * values[t + 1] - values[t]
        running = delta + GAMMA * LAMBDA * running
        returns[t] = running + values[t]
    return returns


class Trainer:
    def __init__(self, a):
        self.a, self.policy, self.decoder = a, Policy(), Decoder(a.style == "good").requires_grad_(False)
        self.good, p, t = a.style == "good", a.characters, a.steps
        self.world = World(p)
        self.observations, self.actions = torch.zeros(t + 1, p, OBSERVATION), torch.zeros(t, p, LATENT)
        self.densities, self.rewards, self.values = (torch.zeros(n, p, 1) for n in (t, t, t + 1))
        self.adam = torch.optim.Adam(self.policy.parameters(), lr=3e-5, eps=1e-5, fused=True if self.good else None)
        if self.good:
            self.step = torch.compile(good_step, dynamic=False)
            self.loss = torch.compile(loss, dynamic=False)
            self.estimate = estimate

    def explore(self, times):
        a, w = self.a, self.world
        for t in range(a.steps):
            begun = time.perf_counter()
            with torch.no_grad():
                if self.good:
                    noise, fresh = torch.randn(a.characters, LATENT), drawn(a.characters)
                    (w.frame, w.root, w.facing, w.target, w.distance, self.observations[t], self.actions[t],
                     self.densities[t], self.rewards[t]) = self.step(
                        self.decoder, self.policy, w.average, w.std, w.frame, w.root, w.facing, w.target, w.distance,
                        noise, fresh)
                else:
                    observation = w.observation() if t == 0 else self.observations[t]
                    self.values[t].copy_(self.policy.critic(observation))
                    dist = torch.distributions.Normal(self.policy.mean(observation), self.policy.logstd.exp())
                    action = dist.sample().clamp(-1, 1)
                    density = dist.log_prob(action).sum(1, keepdim=True)
                    following, reward = w.step(self.decoder, action)
                    self.observations[t + 1].copy_(following)
                    self.actions[t].copy_(action)
                    self.densities[t].copy_(density)
                    self.rewards[t].copy_(reward)
            times.append(time.perf_counter() - begun)

    def learn(self, times):
        a = self.a
        n = a.steps * a.characters
        with torch.no_grad():
            self.observations[-1] = self.world.observation()
            if self.good:
                self.values = self.policy.critic(self.observations.flatten(0, 1)).view_as(self.values)
            else:
                self.values[-1] = self.policy.critic(self.observations[-1])
            returns = estimate(self.values, self.rewards)
            advantages = returns - self.values[:-1]
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-5)
        flat = [x.flatten(0, 1) for x in (self.observations[:-1], self.actions, self.densities, returns, advantages)]
        for _ in range(a.epochs):
            order = torch.randperm(n)
            for first in range(0, n, a.minibatch):
                begun = time.perf_counter()
                batch = [x[order[first:first + a.minibatch]] for x in flat]
                self.adam.zero_grad()
                if self.good:
                    self.loss(self.policy, *batch).backward()
                else:
                    parts = reference_loss(self.policy, *batch)
                    (parts[0] + parts[1] - 0.0 * parts[2]).backward()
                nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
                self.adam.step()
                if not self.good:
                    [part.item() for part in parts]
                times.append(time.perf_counter() - begun)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--style", choices=("reference", "good"), default="reference")
    p.add_argument("--characters", type=int, default=100)
    p.add_argument("--steps", type=int, default=120)
    p.add_argument("--minibatch", type=int, default=1000)
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--updates", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    trainer = Trainer(a)
    trainer.explore([]), trainer.learn([])
    stepping, learning, updates = [], [], []
    for _ in range(a.updates):
        begun = time.perf_counter()
        trainer.explore(stepping)
        trainer.learn(learning)
        updates.append(time.perf_counter() - begun)
    assert torch.isfinite(trainer.rewards).all()
    print(json.dumps({
        "impl": f"torch, {a.style}", "characters": a.characters, "steps": a.steps, "minibatch": a.minibatch,
        "step_ms": 1e3 * statistics.median(stepping), "optimizer_ms": 1e3 * statistics.median(learning),
        "update_s": statistics.median(updates)}))


main()
