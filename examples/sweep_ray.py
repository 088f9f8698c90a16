#!/usr/bin/env python3
"""Trains many models by Ray Tune, and stops the worse ones early (ASHA).

pip install "ray[tune]"; sweep_ray.py DATA TRIALS [FLAGS...]

It runs on the cluster that RAY_ADDRESS names, or else on this machine. All machines must see this
folder. FLAGS are those of `mvae-fast train`. If a worker is lost, Ray starts its trial anew on
another one, where `--resume-or-start` resumes the run bit for bit.
"""
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import tomllib

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler


def die_with_parent():
    """Lets Linux end a training when the worker that started it is lost."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Training(tune.Trainable):
    """A run, of which each step is an epoch: a line of its metrics.jsonl."""

    def setup(self, config):
        self.config, self.name, self.log = config, f"ray-{self.trial_id}", None
        keys = [f"--{key}={config[key]}" for key in ("kl-weight", "learning-rate")]
        command = ["mvae-fast", "train", *config["train"], *keys, "--name", self.name]
        self.command = [*command, "--resume-or-start", "--quiet"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command,
            cwd=self.config["folder"],
            preexec_fn=die_with_parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def line(self):
        """The next line of the log, if it is whole."""
        path = f"{self.config['folder']}/runs/{self.name}/metrics.jsonl"
        if self.log is None and os.path.exists(path):
            self.log = open(path)
        if self.log is None:
            return None
        at = self.log.tell()
        line = self.log.readline()
        if not line.endswith("\n"):
            self.log.seek(at)
            return None
        return line

    def step(self):
        while True:
            ended = self.process.poll()
            if line := self.line():
                break
            if ended is not None:
                said = self.process.stderr.read().decode()
                if "another process is writing to this run" not in said:
                    raise RuntimeError(f"exit code {ended}: {said}")
                time.sleep(1)  # the training of a lost worker holds the run until it has saved
                self.start()
            time.sleep(0.05)
        record = json.loads(line)
        done = record["epoch"] == self.config["epochs"]
        if done:
            self.process.wait()
        return {"error": float(record["recon_loss"]), "epoch": record["epoch"], "done": done}

    def save_checkpoint(self, folder):
        return {}  # the run folder holds all there is to keep

    def load_checkpoint(self, checkpoint):
        pass

    def cleanup(self):
        self.process.terminate()
        self.process.wait()


def main():
    data, trials, *flags = sys.argv[1:]
    train = [os.path.abspath(data), *flags]
    printed = subprocess.run(["mvae-fast", "train", *train, "--print-config"], check=True, capture_output=True, text=True)
    config = tomllib.loads(printed.stdout)
    epochs = sum(config[f"{phase}_epochs"] for phase in ("teacher", "ramp", "student"))
    ray.init(address=os.environ.get("RAY_ADDRESS"))
    space = {
        "train": train,
        "folder": os.getcwd(),
        "epochs": epochs,
        "kl-weight": tune.loguniform(1e-4, 1e-1),
        "learning-rate": tune.loguniform(1e-4, 2e-3),
    }
    scheduler = ASHAScheduler(time_attr="epoch", metric="error", mode="min", max_t=epochs, reduction_factor=3)
    tuner = tune.Tuner(
        tune.with_resources(Training, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(scheduler=scheduler, num_samples=int(trials)),
        run_config=tune.RunConfig(
            storage_path=os.path.abspath("runs/ray"), failure_config=tune.FailureConfig(max_failures=3)
        ),
    )
    for result in tuner.fit():
        name = f"runs/ray-{result.metrics['trial_id']}" if result.metrics else "a trial"
        print(name, result.error or f"epoch {result.metrics['epoch']}, error {result.metrics['error']:.4f}")


if __name__ == "__main__":
    main()
