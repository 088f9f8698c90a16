#!/usr/bin/env python3
"""Lets Optuna choose keys of a training: pip install "optuna>=4.9"; sweep_optuna.py DATA TRIALS [FLAGS...]

Trials are kept in runs/optuna.db. Give the same command again, also twice at a time on several
machines, to go on. A trial whose process gave no sign of life for a minute is resumed, bit for bit.
FLAGS are those of `mvae-fast train`.
"""
import json
import subprocess
import sys
import time

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback


def objective(trial):
    keys = {
        "kl-weight": trial.suggest_float("kl_weight", 1e-4, 1e-1, log=True),
        "learning-rate": trial.suggest_float("learning_rate", 1e-4, 2e-3, log=True),
        "experts": trial.suggest_int("experts", 2, 8),
    }
    first = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial.study.trials[trial.number])
    name = f"optuna-{trial.number if first is None else first}"
    trial.set_user_attr("run", f"runs/{name}")
    flags = [f"--{key}={value}" for key, value in keys.items()]
    train = ["mvae-fast", "train", data, *others, *flags, "--name", name, "--resume-or-start", "--quiet"]
    while (done := subprocess.run(train, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)).returncode:
        if "another process is writing to this run" not in done.stderr:
            raise RuntimeError(done.stderr)
        time.sleep(1)  # the training of a lost process has not ended yet
    record = json.loads(open(f"runs/{name}/metrics.jsonl").readlines()[-1])
    return float(record["validation"]["one_step_error"])


data, trials, *others = sys.argv[1:]
subprocess.run(["mkdir", "-p", "runs"], check=True)
storage = RDBStorage(
    "sqlite:///runs/optuna.db",
    heartbeat_interval=15,
    grace_period=60,
    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
)
study = optuna.create_study(study_name="mvae", storage=storage, load_if_exists=True)
study.optimize(objective, n_trials=int(trials))
print(f"best: {study.best_trial.user_attrs['run']}, error {study.best_value:.4f}, {study.best_params}")
