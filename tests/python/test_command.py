"""The command that the wheel installs."""

import os
import signal
import subprocess
import sys
import time

import mvae_fast
import pytest

PROGRAM = os.path.join(os.path.dirname(sys.executable), "mvae-fast")


def test_exit_codes_and_messages_are_those_of_the_program(tmp_path):
    done = subprocess.run([PROGRAM, "eval", "nowhere"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 4 and done.stderr.startswith("error: nowhere: ") and done.stderr.count("\n") == 1
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"mvae-fast {mvae_fast.__version__}\n")
    assert subprocess.run([PROGRAM, "--no-such-flag"], capture_output=True).returncode == 2


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_training_with_everything_saved(tmp_path, number, code):
    arguments = "train --name run --hidden-size 32 --gate-hidden-size 8 --minibatches 8".split()
    with subprocess.Popen([PROGRAM, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        metrics = tmp_path / "runs/run/metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(number)
        assert "everything saved" in process.communicate(timeout=60)[1]
        assert process.returncode == code


def test_ctrl_c_ends_a_command_that_does_not_listen(tmp_path):
    with subprocess.Popen([PROGRAM, "gradcheck"], cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == -signal.SIGINT
