"""Walks from Python beside those of the command, and everything that can be handed over wrongly."""

import gc
import multiprocessing
import struct
import threading

import mvae_fast
import numpy as np
import pytest
from conftest import command

FEET = 0.3048


def rows(motion, key, n):
    return motion[key].reshape(n, -1, motion[key].shape[-1])


@pytest.mark.parametrize("name, n", [("walk", 3), ("walk", 300), ("vq", 3)])
def test_walks_are_bit_for_bit_the_commands(folder, tmp_path, name, n):
    file = tmp_path / "walks.npz"
    command("generate", folder / "runs" / name, "--characters", n, "--frames", 20, "--seed", 5, "-o", file)
    motion = np.load(file)
    poses, latents = rows(motion, "data", n), motion["latents"]
    model = mvae_fast.load(folder / "runs" / name)
    given, drawn = model.reset(n, seed=5), model.reset(n, seed=5)
    for frame in range(20):
        assert np.array_equal(given.step(np.ascontiguousarray(latents[:, frame])), poses[:, frame])
        assert np.array_equal(drawn.step(), poses[:, frame])
        assert np.array_equal(drawn.latents, latents[:, frame])
    assert given.frames == 20


def test_threads_do_not_change_the_bits(run):
    walks = [mvae_fast.load(run, threads=threads).reset(40, seed=1) for threads in (1, 2)]
    for _ in range(5):
        assert np.array_equal(*[walk.step() for walk in walks])


def test_places_are_those_of_the_motion_file(folder, run, tmp_path):
    command("generate", run, "--characters", 2, "--frames", 30, "-o", tmp_path / "walks.npz")
    motion, model = np.load(tmp_path / "walks.npz"), mvae_fast.load(run)
    poses = rows(motion, "data", 2)
    places = model.positions(poses)
    assert places.shape == (2, 30, len(model.skeleton), 3)
    assert np.allclose(places.reshape(-1, len(model.skeleton), 3), motion["positions"] * FEET, atol=1e-5)
    assert np.array_equal(model.positions(poses[1]), places[1])


def test_latents_of_a_clip_are_those_of_its_first_reconstructed_frame(folder, run, tmp_path):
    command("generate", run, "--reconstruct", 0, "--frames", 1, "-o", tmp_path / "clip.npz")
    clip = np.load(tmp_path / "clip.npz")
    data, model = mvae_fast.read_set(folder / "motion.npz"), mvae_fast.load(run)
    first, last = data.clips[0]
    latents = model.encode(data.frames[first:last])
    assert latents.shape == (last - first - model.condition_frames - model.future_predictions + 1, model.latent_size)
    assert np.array_equal(latents[0], clip["latents"].reshape(-1, model.latent_size)[0])


def test_a_walk_starts_from_given_poses(folder, run):
    data, model = mvae_fast.read_set(folder / "motion.npz"), mvae_fast.load(run)
    start = data.frames[None, 10 : 10 + model.condition_frames]
    latents = np.zeros((1, model.latent_size), np.float32)
    command("generate", run, "--start", f"0:{9 + model.condition_frames}", "--temperature", 0, "--frames", 1,
            "-o", folder / "start.npz")
    assert np.array_equal(model.reset(start=start).step(latents), np.load(folder / "start.npz")["data"])


def test_a_set_is_what_was_written(folder, run, tmp_path):
    data = mvae_fast.read_set(folder / "motion.npz")
    assert np.array_equal(data.frames, np.load(folder / "motion.npz")["data"])
    assert data.clips[-1][1] == len(data.frames) and data.report is None
    data.save(tmp_path / "copy.npz")
    assert np.array_equal(mvae_fast.read_set([tmp_path / "copy.npz"]).frames, data.frames)
    with pytest.raises(mvae_fast.Error, match="exists"):
        data.save(tmp_path / "copy.npz")
    skeleton = mvae_fast.load(run).skeleton
    assert skeleton.names == data.skeleton.names and skeleton.parents[skeleton.hips] == -1
    assert skeleton.offsets.shape == (len(skeleton), 3)


def test_bvh_is_imported_as_the_command_does(folder, tmp_path):
    command("data", "export", folder / "motion.npz", "--clip", 0, "-o", tmp_path / "clip.bvh")
    command("data", "import", tmp_path / "clip.bvh", "-o", tmp_path / "clip.npz")
    data = mvae_fast.import_bvh(tmp_path / "clip.bvh")
    assert np.array_equal(data.frames, np.load(tmp_path / "clip.npz")["data"])
    assert "units" in data.report and data.refused == []
    (tmp_path / "bad.bvh").write_text("HIERARCHY\nROOT\n")
    with pytest.warns(UserWarning, match="bad.bvh"):
        assert len(mvae_fast.import_bvh([tmp_path / "clip.bvh", tmp_path / "bad.bvh"]).refused) == 1
    with pytest.raises(mvae_fast.Error, match="bad.bvh"):
        mvae_fast.import_bvh(tmp_path / "bad.bvh")


def wrong_latents(n, size):
    good = np.zeros((n, size), np.float32)
    holed = good.copy()
    holed[2, 1] = np.nan
    return [
        (good[:, :-1].copy(), ValueError, r"shape \[4, 7\], expected \[4, 8\]"),
        (good[:-1], ValueError, "shape"),
        (good[0], ValueError, "shape"),
        (good.astype(np.float64), TypeError, "float64, expected float32"),
        (good.astype(">f4"), TypeError, "expected float32"),
        (good.tolist(), TypeError, "list, expected a numpy array"),
        (np.asfortranarray(good), ValueError, "not contiguous"),
        (np.zeros((n, 2 * size), np.float32)[:, ::2], ValueError, "not contiguous"),
        (holed, ValueError, "first such number in row 2"),
        (np.zeros((0, size), np.float32), ValueError, "shape"),
    ]


@pytest.mark.parametrize("case", range(10))
def test_wrong_latents_are_refused_and_change_nothing(run, case):
    model = mvae_fast.load(run)
    latents, kind, message = wrong_latents(4, model.latent_size)[case]
    walk, beside = model.reset(4, seed=2), model.reset(4, seed=2)
    with pytest.raises(kind, match=message):
        walk.step(latents)
    assert np.array_equal(walk.step(), beside.step())


def test_wrong_arguments_are_refused(folder, run):
    model = mvae_fast.load(run)
    for wrong in (lambda: model.reset(0), lambda: model.reset(1 << 40), lambda: model.reset(temperature=-1.0)):
        with pytest.raises(ValueError, match="expected"):
            wrong()
    with pytest.raises(OverflowError):
        model.reset(seed=-1)
    with pytest.raises(ValueError, match="expected"):
        model.encode(np.zeros((1, model.frame_size), np.float32))
    with pytest.raises(ValueError, match="expected"):
        model.positions(np.zeros((3, 5), np.float32))
    with pytest.raises(ValueError, match="expected"):
        model.reset(2, start=np.zeros((1, model.condition_frames, model.frame_size), np.float32))
    with pytest.raises(ValueError, match='device is "tpu", expected auto'):
        mvae_fast.load(run, device="tpu")
    with pytest.raises(ValueError, match="threads is 0"):
        mvae_fast.load(run, threads=0)
    with pytest.raises(mvae_fast.Error, match="no such file"):
        mvae_fast.load("nowhere")
    with pytest.raises(mvae_fast.Error, match="motion"):
        mvae_fast.read_set(folder / "no-motion.npz")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return f"{crc ^ 0xFFFFFFFF:08x}".encode()


def test_a_run_of_another_version_is_refused(run, tmp_path):
    """Its configuration has a key that this version does not know."""
    file = (run / "checkpoints/last.safetensors").read_bytes()
    assert b"toe_weight" in file
    file = file.replace(b"toe_weight", b"new_weight")
    (size,) = struct.unpack("<Q", file[:8])
    at = file.index(b'crc32c\\":\\"', 8, 8 + size) + len(b'crc32c\\":\\"')
    file = file[:at] + b"0" * 8 + file[at + 8 :]
    other = tmp_path / "other.safetensors"
    other.write_bytes(file[:at] + crc32c(file) + file[at + 8 :])
    with pytest.raises(mvae_fast.Error, match="new_weight.*version of mvae-fast that wrote it"):
        mvae_fast.load(other)


def test_what_is_closed_says_so(run):
    with mvae_fast.load(run) as model:
        walk = model.reset(2)
    for wrong in (lambda: model.reset(), lambda: model.frame_size, lambda: model.skeleton):
        with pytest.raises(ValueError, match="this model is closed"):
            wrong()
    assert "closed" in repr(model)
    walk.step()
    walk.close()
    with pytest.raises(ValueError, match="this walk is closed"):
        walk.step()


def test_a_walk_outlives_its_model(run):
    walk = mvae_fast.load(run).reset(2)
    gc.collect()
    assert np.isfinite(walk.step()).all()


def test_one_walk_is_of_one_thread(run):
    model = mvae_fast.load(run, threads=1)
    walk, others, refused = model.reset(2000), model.reset(3, seed=4), []
    own = [others.step() for _ in range(50)]

    def step():
        for _ in range(10):
            try:
                walk.step()
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=step) for _ in range(2)]
    [thread.start() for thread in threads]
    # Meanwhile this thread steps characters of its own, with the same team of threads.
    again = model.reset(3, seed=4)
    assert all(np.array_equal(again.step(), pose) for pose in own)
    [thread.join() for thread in threads]
    assert refused and set(refused) == {"this walk is at work in another thread; give each thread its own"}


def of_child(walk, answers):
    try:
        walk.step()
    except RuntimeError as error:
        answers.put(str(error))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_told(run):
    walk, context = mvae_fast.load(run).reset(2), multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=of_child, args=(walk, answers))
    child.start()
    assert "belongs to the process that forked this one" in answers.get(timeout=60)
    child.join()
