#!/usr/bin/env python3
"""Lets Optuna choose keys of a training: pip install optuna; sweep_optuna.py DATA TRIALS [FLAGS...]

Trials are kept in runs/optuna.db. Give the same command again, also twice at a time on several
machines, to go on. FLAGS are those of `mvae-fast train`.
"""
import json
import subprocess
import sys

import optuna


def objective(trial):
    keys = {
        "kl-weight": trial.suggest_float("kl_weight", 1e-4, 1e-1, log=True),
        "learning-rate": trial.suggest_float("learning_rate", 1e-4, 2e-3, log=True),
        "experts": trial.suggest_int("experts", 2, 8),
    }
    name = f"optuna-{trial.number}"
    flags = [f"--{key}={value}" for key, value in keys.items()]
    train = ["mvae-fast", "train", data, *others, *flags, "--name", name, "--resume-or-start", "--quiet"]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    record = json.loads(open(f"runs/{name}/metrics.jsonl").readlines()[-1])
    return float(record["validation"]["one_step_error"])


data, trials, *others = sys.argv[1:]
subprocess.run(["mkdir", "-p", "runs"], check=True)
study = optuna.create_study(study_name="mvae", storage="sqlite:///runs/optuna.db", load_if_exists=True)
study.optimize(objective, n_trials=int(trials))
print(f"best: runs/optuna-{study.best_trial.number}, error {study.best_value:.4f}, {study.best_params}")
