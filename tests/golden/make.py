#!/usr/bin/env python3
"""Makes the cases `*_tiny` beside this file: narrow networks, in PyTorch with float64 and autograd.
They follow the formulas in docs/math.md and use no code of this crate. Needs numpy and torch.

    make.py [FOLDER]
"""
import json, pathlib, sys
import numpy as np
import torch
import torch.nn.functional as F

ADAM = dict(beta1=0.9, beta2=0.999, eps=1e-8)
STEP_TOLERANCE = dict(
    f64=dict(output_rel=1e-11, loss_rel=1e-11, grad_rel=1e-9, adam_delta_rel=1e-7),
    f32=dict(output_rel=2e-5, loss_rel=1e-5, grad_rel=1e-4, adam_delta_rel=5e-3))
ROLLOUT_TOLERANCE = dict(
    f64=dict(loss_rel=1e-10, prediction_rel=1e-9, final_delta_rel=1e-6),
    f32=dict(loss_rel=5e-5, prediction_rel=2e-4, final_delta_rel=1e-2))
DECAY, SMOOTHING = 0.99, 1e-5


# --------------------------------------------------------------------------------------------------
# networks
def shapes(s):
    """State-dict name -> shape; buffers last."""
    x, c, latent, h = s["K"] * s["F"], s["C"] * s["F"], s["L"], s["H"]
    out = {}

    def dense(name, inputs, outputs):
        out[name + ".weight"], out[name + ".bias"] = (outputs, inputs), (outputs,)

    def encoder(prefix):
        dense(prefix + "fc1", x + c, h)
        for name, outputs in (("fc2", h), ("mu", latent), ("logvar", latent)):
            dense(prefix + name, x + h, outputs)

    def three(names, outputs):
        for name, inputs, width in zip(names, (c, h, h), (h, h, outputs)):
            dense(name, latent + inputs, width)

    if s["variant"] == "posevae":
        encoder("")
        three(("fc4", "fc5", "out"), x)
    elif s["variant"] == "specialist":
        encoder("encoder.")
        for e in range(s["E"]):
            three([f"d{e}.{n}" for n in ("fc4", "fc5", "out")], x)
        three(("g_fc1", "g_fc2", "g_fc3"), s["E"])
    else:
        for name, inputs, outputs in (("fc1", x + c, h), ("fc2", h, h), ("fc3", h, h), ("mu", h, latent),
                                      ("fc4", latent + c, h), ("fc5", h, h), ("fc6", h, h), ("out", h, x)):
            dense(name, inputs, outputs)
        out |= {"quantizer.embed": (latent, s["N"]), "quantizer.cluster_size": (s["N"],),
                "quantizer.embed_avg": (latent, s["N"])}
    return out


def initial(s, rng):
    """Initial parameters, float32: uniform within 1/sqrt(inputs), twice as wide for the gate."""
    p = {}
    for name, shape in shapes(s).items():
        inputs = p[name[:-4] + "weight"].shape[1] if name.endswith("bias") else shape[-1]
        p[name] = rng.uniform(-1, 1, shape) * (2 if "g_fc" in name else 1) / np.sqrt(inputs)
    if s["variant"] == "vq":
        size = rng.uniform(0.5, 3, s["N"]).astype(np.float32)
        p["quantizer.embed"] = 0.5 * rng.normal(size=(s["L"], s["N"]))
        p["quantizer.cluster_size"], p["quantizer.embed_avg"] = size, p["quantizer.embed"] * size
    return {name: value.astype(np.float32) for name, value in p.items()}


def dense(p, name, *inputs):
    return F.linear(torch.cat(inputs, 1), p[name + ".weight"], p[name + ".bias"])


def three(p, names, skip, h):
    for name in names[:2]:
        h = F.elu(dense(p, name, skip, h))
    return dense(p, names[2], skip, h)


def decode(p, s, z, c):
    """Returns the prediction [B, X] and None; for specialists all predictions [B, E, X] and the gate [B, E]."""
    if s["variant"] == "posevae":
        return three(p, ("fc4", "fc5", "out"), z, c), None
    if s["variant"] == "specialist":
        each = [three(p, [f"d{e}.{n}" for n in ("fc4", "fc5", "out")], z, c) for e in range(s["E"])]
        return torch.stack(each, 1), three(p, ("g_fc1", "g_fc2", "g_fc3"), z, c).softmax(1)
    h = dense(p, "fc4", z, c).relu()
    return dense(p, "out", dense(p, "fc6", dense(p, "fc5", h).relu()).relu()), None


def forward(p, s, x, c, eps, pick):
    """Forward pass in training, with all its results; for vq it also updates the codebook in p."""
    r = dict(perplexity=torch.zeros(()))
    if s["variant"] == "vq":
        h = dense(p, "fc1", x, c).relu()
        v = dense(p, "mu", dense(p, "fc3", dense(p, "fc2", h).relu()).relu())
        book = p["quantizer.embed"].clone()
        code = ((v.detach().unsqueeze(2) - book) ** 2).sum(1).argmin(1)
        q, hot = book.t()[code], F.one_hot(code, s["N"]).double()
        with torch.no_grad():
            size, total = p["quantizer.cluster_size"], p["quantizer.embed_avg"]
            size.copy_(DECAY * size + (1 - DECAY) * hot.sum(0))
            total.copy_(DECAY * total + (1 - DECAY) * v.t() @ hot)
            n = size.sum()
            p["quantizer.embed"].copy_(total / ((size + SMOOTHING) / (n + s["N"] * SMOOTHING) * n))
        use = hot.mean(0)
        r |= dict(mu=v, z=q, code_index=code, reg=((q - v) ** 2).mean())
        r["perplexity"] = torch.exp(-(use * torch.log(use + 1e-10)).sum())
        z = v + (q - v).detach()
    else:
        prefix = "" if s["variant"] == "posevae" else "encoder."
        h = F.elu(dense(p, prefix + "fc1", x, c))
        h = F.elu(dense(p, prefix + "fc2", x, h))
        mu, logvar = dense(p, prefix + "mu", x, h), dense(p, prefix + "logvar", x, h)
        z = mu + eps * torch.exp(0.5 * logvar)
        r |= dict(mu=mu, logvar=logvar, z=z, reg=-0.5 * (1 + logvar - mu**2 - logvar.exp()).mean())
    y, gate = decode(p, s, z, c)
    if gate is None:
        r |= dict(y=y, recon=((y - x) ** 2).mean())
    else:
        m = ((y - x.unsqueeze(1)) ** 2).mean(2)
        r |= dict(gate=gate, expert_outputs=y, y=y[torch.arange(len(x)), pick])
        r["recon"] = -torch.logsumexp(gate.log() - 0.5 * m, 1).mean()
    r["total"] = r["recon"] + s["beta"] * r["reg"]
    return r


class Trainer:
    """Trains parameters, which are leaves of autograd, with Adam."""

    def __init__(self, s, start):
        self.s = s
        self.p = {n: torch.from_numpy(v.astype(np.float64)) for n, v in start.items()}
        self.trained = [n for n in self.p if not n.startswith("quantizer.")]
        leaves = [self.p[n].requires_grad_() for n in self.trained]
        self.adam = torch.optim.Adam(leaves, lr=0.0, betas=(ADAM["beta1"], ADAM["beta2"]), eps=ADAM["eps"])

    def step(self, x, c, eps, pick, lr):
        self.adam.param_groups[0]["lr"] = lr
        r = forward(self.p, self.s, x, c, eps, pick)
        self.adam.zero_grad()
        r["total"].backward()
        self.adam.step()
        return r

    def state(self, tag):
        return {f"{tag}.{n}": v.detach().numpy().copy() for n, v in self.p.items()}


# --------------------------------------------------------------------------------------------------
# cases
def common(s, names, tolerance):
    meta = dict(variant=s["variant"], frame_size=s["F"], latent_size=s["L"], num_condition_frames=s["C"],
                num_future_predictions=s["K"], batch=s["B"], hidden_size=s["H"], beta=s["beta"], adam=ADAM,
                seed=s["seed"], param_order=names, tolerance=tolerance)
    return meta | {k: s[v] for k, v in (("num_experts", "E"), ("num_embeddings", "N")) if v in s}


def single(values):
    """Rounds numbers to float32, and returns them as float64."""
    return values.astype(np.float32).astype(np.float64)


def vae_step(s, rng, start):
    b, x, c = s["B"], s["K"] * s["F"], s["C"] * s["F"]
    arr = {"param." + n: v for n, v in start.items()}
    arr |= dict(truth=single(rng.normal(size=(b, s["K"], s["F"]))), cond=single(rng.normal(size=(b, s["C"], s["F"]))))
    arr["sample_action"] = single(rng.normal(size=(b, s.get("N", s["L"]))))
    if s["variant"] != "vq":
        arr["eps"] = single(rng.normal(size=(5, b, s["L"])))
    if s["variant"] == "specialist":
        arr["pick"] = rng.integers(0, s["E"], b)
    t = {k: torch.from_numpy(v) for k, v in arr.items() if not k.startswith("param.")}
    cond, truth = t["cond"].view(b, c), t["truth"].view(b, x)

    trainer = Trainer(s, start)
    action = t["sample_action"]
    z = trainer.p["quantizer.embed"].t()[action.argmax(1)] if s["variant"] == "vq" else action
    y, gate = decode(trainer.p, s, z, cond)
    y = y if gate is None else y[torch.arange(b), gate.argmax(1)]
    arr["sample_output"] = y.detach().numpy().reshape(b, s["K"], s["F"])
    totals = []
    for i in range(5):
        r = trainer.step(truth, cond, t["eps"][i] if "eps" in t else None, t.get("pick"), 1e-4)
        totals.append(float(r["total"].detach()))
        if i == 0:
            for name in ("mu", "logvar", "z", "gate", "expert_outputs", "code_index"):
                if name in r:
                    arr[name] = r[name].detach().numpy()
            arr["vae_output"] = r["y"].detach().numpy().reshape(b, s["K"], s["F"])
            for name, key in (("recon_loss", "recon"), ("kl_or_vq_loss", "reg"), ("perplexity", "perplexity"),
                              ("total_loss", "total")):
                arr[name] = np.array([float(r[key].detach())])
            arr |= {"grad." + n: trainer.p[n].grad.numpy().copy() for n in trainer.trained}
        if i in (0, 4):
            arr |= trainer.state(f"adam{i + 1}")
    arr["step_total_loss"] = np.array(totals)
    return dict(kind="vae_step", lr=1e-4, trainable=trainer.trained) | common(s, list(start), STEP_TOLERANCE), arr


def vae_rollout(s, rng, start):
    b, steps, epochs, per_epoch, (lr0, lr1) = s["B"], 4, 3, 3, (1e-4, 1e-7)
    frames, ends = 48, np.array([18, 47])
    raw = np.cumsum(rng.normal(size=(frames, s["F"])), 0) * rng.uniform(0.2, 2, s["F"])
    raw[:, 1] = 0.375
    raw = single(raw)
    std = raw.std(0, ddof=1)
    std[raw.max(0) == raw.min(0)] = 1
    arr = dict(data_raw=raw, end_indices=ends, max=raw.max(0), min=raw.min(0), avg=raw.mean(0), std=std)
    arr["data"] = (raw - arr["avg"]) / std
    span = s["C"] + steps + s["K"] - 1
    clips = ((0, ends[0] + 1), (ends[0] + 1, frames))
    arr["selectable"] = np.array([i for lo, hi in clips for i in range(lo, hi - span + 1)])
    n = epochs * per_epoch
    arr["starts"] = np.concatenate([rng.permutation(arr["selectable"])[: per_epoch * b].reshape(per_epoch, b)
                                    for _ in range(epochs)])
    arr["epoch"] = np.repeat(np.arange(1, epochs + 1), per_epoch)
    arr["lr"] = lr0 - (lr0 - lr1) * (arr["epoch"] - 1) / epochs
    arr["student_probability"] = np.linspace(0, 1, epochs)[arr["epoch"] - 1]
    arr["uniform"] = rng.random((n, steps))
    arr["student"] = (arr["uniform"] < arr["student_probability"][:, None]).astype(np.int64)
    if s["variant"] != "vq":
        arr["eps"] = single(rng.normal(size=(n, steps, b, s["L"])))
    if s["variant"] == "specialist":
        arr["pick"] = rng.integers(0, s["E"], (n, steps, b))

    trainer, data, terms = Trainer(s, start), torch.from_numpy(arr["data"]), []
    for i in range(n):
        t = torch.from_numpy(arr["starts"][i]) + s["C"]  # the first frame to predict
        history = torch.stack([data[t - 1 - j] for j in range(s["C"])], 1)
        for k in range(steps):
            truth = torch.stack([data[t + k + j] for j in range(s["K"])], 1)
            eps = torch.from_numpy(arr["eps"][i, k]) if "eps" in arr else None
            pick = torch.from_numpy(arr["pick"][i, k]) if "pick" in arr else None
            condition = history
            r = trainer.step(truth.flatten(1), condition.flatten(1), eps, pick, arr["lr"][i])
            y = r["y"].detach().view(truth.shape)
            newest = y[:, 0] if arr["student"][i, k] else truth[:, 0]
            history = torch.cat((newest.unsqueeze(1), history[:, :-1]), 1)
            terms.append([float(r[key].detach()) for key in ("recon", "reg", "perplexity")])
            if i == 0 and k == 0:
                arr["first_prediction"] = y.numpy()
    arr["last_prediction"], arr["last_condition"] = y.numpy(), condition.numpy()
    terms = np.array(terms).reshape(n, steps, 3)
    arr |= {name: terms[..., i].copy() for i, name in enumerate(("recon", "kl_or_vq", "perplexity"))}
    means = terms.reshape(epochs, -1, 3).mean(1)
    arr["log_correct"] = np.concatenate((np.arange(1, epochs + 1)[:, None], means), 1)
    arr |= trainer.state("final")
    meta = dict(kind="vae_rollout", params_from=s["variant"] + "_tiny", num_steps_per_rollout=steps, norm_mode="zscore",
                epochs=epochs, teacher_epochs=0, ramping_epochs=epochs, student_epochs=0, initial_lr=lr0, final_lr=lr1,
                minibatches_per_epoch=per_epoch)
    return meta | common(s, list(start), ROLLOUT_TOLERANCE), arr


def save(folder, name, meta, arr):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "case.json").write_text(json.dumps(dict(case=name) | meta, indent=1) + "\n")
    np.savez_compressed(folder / name / "arrays.npz", **arr)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    torch.set_num_threads(1)
    sizes = (dict(variant="posevae", F=7, L=3, C=2, K=2, H=16, B=5, beta=0.2, seed=1),
             dict(variant="specialist", F=7, L=3, C=1, K=2, H=12, E=3, B=5, beta=0.5, seed=2),
             dict(variant="vq", F=7, L=3, C=2, K=1, H=16, N=5, B=6, beta=1.0, seed=3))
    for s in sizes:
        rng = np.random.default_rng(s["seed"])
        start = initial(s, rng)
        save(folder, s["variant"] + "_tiny", *vae_step(s, rng, start))
        save(folder, f"rollout_{s['variant']}_tiny", *vae_rollout(s, rng, start))
