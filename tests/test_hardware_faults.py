"""What goes wrong with a device: one sentence, soon, and nothing leaks."""

import copy
import http.server
import json
import pickle
import sys
import threading
import time

import numpy as np
import pytest
import torch
from oracles import randomise
from synthetic import FIT, two_clusters

from qbmvae_mini.hardware import (
    Annealer,
    Budget,
    BudgetError,
    DeviceError,
    Fallback,
    MockAnnealer,
    Recorder,
    Tape,
    TapeError,
    access_time,
    backend,
    connect,
    native_machine,
)
from qbmvae_mini.latents import BoltzmannLatent
from qbmvae_mini.models import CellVAE
from qbmvae_mini.samplers import GibbsSampler

TOKEN = "PLANT-0123456789abcdef0123456789abcdef01234567"


def on(device, n_units=8, **options):
    """A machine with weights, and an annealer on the device's own graph."""
    machine, embedding = native_machine(device, n_units)
    return randomise(machine), Annealer(device, embedding, beta=4.0, **options)


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A computer without D-Wave's settings, and a service that says no."""
    for name in ("TOKEN", "ENDPOINT", "SOLVER", "PROFILE", "CONFIG_FILE"):
        monkeypatch.delenv(f"DWAVE_API_{name}", raising=False)
        monkeypatch.delenv(f"DWAVE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    class SaysNo(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 (the library's name)
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SaysNo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def sentence_of(function, *args, **kwargs):
    """What a failure says: one line, in time, without the planted token."""
    start = time.perf_counter()
    with pytest.raises(DeviceError) as found:
        function(*args, **kwargs)
    assert time.perf_counter() - start < 3
    said = str(found.value)
    assert "\n" not in said
    assert TOKEN not in said
    return said


def test_connecting_fails_in_one_sentence(nobody):
    import dwave.system  # noqa: F401 (the first import takes a while)

    assert "no token was found" in sentence_of(connect, endpoint=nobody)
    wrong = sentence_of(connect, token=TOKEN, endpoint=nobody)
    assert "token was refused" in wrong
    closed = "http://127.0.0.1:9/"
    offline = sentence_of(connect, token=TOKEN, endpoint=closed)
    assert "was not reached" in offline


def test_without_the_client_one_is_told_what_to_install(monkeypatch):
    for name in ("dwave.system", "dwave.system.testing"):
        monkeypatch.setitem(sys.modules, name, None)
    for make in (connect, MockAnnealer):
        assert "pip install dwave-system" in sentence_of(make)


FAULTS = {
    "offline": "is offline",
    "timeout": "no answer came in time",
    "fewer reads": "returned 50 of 100 reads",
    "repeated answer": "the answer of the call before once more",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_one_sentence_and_counts(fault):
    device = MockAnnealer(faults={1: fault})
    budget = Budget(10)
    machine, sampler = on(device, budget=budget)
    sampler.sample(machine, 100)
    spent = budget.spent
    assert FAULTS[fault] in sentence_of(sampler.sample, machine, 100)
    assert budget.calls == 2
    assert budget.spent > 1.5 * spent
    sampler.sample(machine, 100)  # and goes on


class Leaky(MockAnnealer):
    """A client that holds a token and tells it in its errors."""

    def __init__(self, **options):
        super().__init__(**options)
        self.token = TOKEN
        self.lock = threading.Lock()  # cannot be copied

    def sample(self, bqm, **kwargs):
        if self.calls in (3,):
            self.calls += 1
            raise RuntimeError(f"no access with token {TOKEN}\nsecond line")
        return super().sample(bqm, **kwargs)


def test_a_training_stops_with_its_checkpoint_whole(tmp_path):
    def model(faults):
        device = MockAnnealer(faults=faults)
        machine, embedding = native_machine(device, 8)
        sampler = Annealer(device, embedding, beta=4.0, draws=32)
        return CellVAE(two_clusters(), BoltzmannLatent(machine, sampler))

    settings = FIT | {"max_epochs": 6}
    whole = model({}).fit(**settings)
    broken = model({8: "timeout"})
    with pytest.raises(DeviceError, match="no answer came in time"):
        broken.fit(**settings, resume=tmp_path / "run")
    again = model({}).fit(**settings, resume=tmp_path / "run")
    for one, other in zip(whole.history_, again.history_, strict=True):
        assert one == pytest.approx(other, nan_ok=True)


def test_a_training_falls_back_if_told_to_and_says_so():
    device = MockAnnealer(faults={5: "offline"})
    machine, embedding = native_machine(device, 8)
    sampler = Fallback(
        Annealer(device, embedding, beta=4.0, draws=32),
        GibbsSampler(32, 2),
    )
    model = CellVAE(two_clusters(), BoltzmannLatent(machine, sampler))
    with pytest.warns(UserWarning, match="offline.*GibbsSampler draws, a sim"):
        model.fit(**FIT | {"max_epochs": 4})
    assert sampler.failed
    assert device.calls == 6
    state = sampler.state_dict()
    sampler.reset()
    assert not sampler.failed
    sampler.load_state_dict(state)
    assert sampler.failed
    with pytest.raises(ValueError, match="none of a Fallback"):
        sampler.load_state_dict({})


def test_a_planted_token_is_found_nowhere(tmp_path, capfd):
    device = Leaky()
    recorder = Recorder(device)
    machine, embedding = native_machine(device, 8)
    sampler = Annealer(recorder, embedding, beta=4.0, draws=32)
    model = CellVAE(two_clusters(), BoltzmannLatent(machine, sampler))
    with pytest.raises(DeviceError, match="RuntimeError: no access") as found:
        model.fit(**FIT, resume=tmp_path / "run")
    recorder.tape.save(tmp_path / "tape.npz")
    model.save(tmp_path / "model")
    said = [str(found.value), repr(found.value), repr(sampler), repr(model)]
    said += [json.dumps(sampler.settings()), repr(sampler.report)]
    said += [repr(recorder), repr(recorder.tape), *capfd.readouterr()]
    assert not any(TOKEN in text for text in said)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        assert TOKEN.encode() not in path.read_bytes(), path
    with np.load(tmp_path / "tape.npz", allow_pickle=False) as tape:
        assert TOKEN not in str(dict(tape))
    with pytest.raises(TypeError, match="is not pickled"):
        pickle.dumps(sampler)


def test_a_client_that_cannot_be_copied_is_shared():
    machine, sampler = on(Leaky())
    twin = copy.deepcopy(sampler)
    assert twin.device is sampler.device
    expected = twin.sample(machine, 50)
    assert torch.equal(sampler.sample(machine, 50), expected)
    sampler.fork(1)


# Budget


def test_the_timing_model_is_that_of_the_machine():
    properties = MockAnnealer().properties
    took = [
        access_time(properties, 64, 100, 20.0),
        access_time(properties, 256, 256, 1.0),
        access_time(properties, 256, 1000, 20.0),
    ]
    assert np.round(np.array(took) / 1000).tolist() == [33, 68, 241]


def test_a_cost_is_told_before_any_call():
    device = MockAnnealer()
    machine, sampler = on(device, budget=Budget(200, price_per_hour=2000.0))
    cost = sampler.cost(256, steps=1000)
    assert (cost.calls, cost.reads) == (1000, 256_000)
    assert cost.money == pytest.approx(cost.seconds / 3600 * 2000)
    assert device.calls == 0
    sampler.sample(machine, 256)
    assert sampler.budget.spent == pytest.approx(cost.seconds / 1000)


def test_the_call_beyond_the_budget_is_not_made():
    device = MockAnnealer()
    machine, sampler = on(device, budget=Budget(0.1))
    sampler.sample(machine, 100)
    sampler.sample(machine, 100)
    calls = device.calls
    said = sentence_of(sampler.sample, machine, 20_000)
    assert "the device was not asked" in said
    assert device.calls == calls
    with pytest.raises(BudgetError):
        while True:
            sampler.sample(machine, 100)
    assert sampler.budget.spent <= 0.1


def test_copies_and_resumed_runs_share_one_account():
    machine, sampler = on(MockAnnealer(), budget=Budget(10))
    sampler.fork(1).sample(machine, 100)
    assert sampler.budget.calls == 1
    other = on(MockAnnealer(), budget=Budget(10))[1]
    other.load_state_dict(sampler.state_dict())
    assert other.budget.spent == sampler.budget.spent
    assert "spent in 1 calls" in repr(sampler.budget)


def test_a_device_without_a_timing_model_takes_no_budget():
    device = MockAnnealer()
    device.properties["problem_timing_data"] = None
    machine, sampler = on(device, budget=Budget(10))
    assert "no timing model" in sentence_of(sampler.sample, machine, 10)


# Tape


def recorded(tmp_path, **options):
    device = MockAnnealer()
    machine, embedding = native_machine(device, 8)
    randomise(machine)
    recorder = Recorder(device, embedding)
    sampler = Annealer(recorder, embedding, beta=4.0, **options)
    draws = [sampler.sample(machine, 200) for _ in range(2)]
    path = tmp_path / "tape.npz"
    recorder.tape.save(path)
    return path, machine, draws


def test_a_tape_gives_the_same_answers_again(tmp_path):
    path, machine, draws = recorded(tmp_path, annealing_time=5.0)
    sampler = backend(
        "replay", machine, tape=path, beta=4.0, annealing_time=5.0
    )
    for expected in draws:
        assert torch.equal(sampler.sample(machine, 200), expected)
    assert sampler.report["kind"] == "simulated"
    assert sampler.report["seconds"] > 0.03
    assert "all have been given" in sentence_of(sampler.sample, machine, 200)
    sampler.device.rewind()
    sampler.reset()
    assert torch.equal(sampler.sample(machine, 200), draws[0])


def test_a_replay_of_another_problem_is_refused(tmp_path):
    path, machine, _ = recorded(tmp_path)
    other = backend("replay", machine, tape=path, beta=4.0, annealing_time=9.0)
    for sampler, change, n in (
        (backend("replay", machine, tape=path, beta=4.0), 0.0, 201),
        (backend("replay", machine, tape=path, beta=4.1), 0.0, 200),
        (other, 0.0, 200),
        (backend("replay", machine, tape=path, beta=4.0), 0.01, 200),
    ):
        with torch.no_grad():
            machine.bias[0] += change
        said = sentence_of(sampler.sample, machine, n)
        assert "answers to other problems" in said


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_damaged_tape_is_refused(tmp_path, place):
    path, *_ = recorded(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0xFF
    path.write_bytes(content)
    assert "was damaged" in sentence_of(Tape.load, path)
    path.write_bytes(content[: len(content) // 2])
    assert "was damaged" in sentence_of(Tape.load, path)
    path.write_text("no tape")
    assert "was damaged" in sentence_of(Tape.load, path)
    path.unlink()
    assert "there is no tape" in sentence_of(Tape.load, path)


def test_a_simulation_cannot_be_made_a_device(tmp_path):
    path, *_ = recorded(tmp_path)
    with np.load(path) as file:
        arrays = dict(file)
    assert '"kind": "simulated"' in str(arrays["about"])
    arrays["about"] = str(arrays["about"]).replace("simulated", "device")
    np.savez_compressed(path, **arrays)
    assert "changed" in sentence_of(Tape.load, path)


def test_kinds_are_not_mixed_on_a_tape(tmp_path):
    path, machine, _ = recorded(tmp_path)
    tape = Tape.load(path)
    tape.kind = "device"
    recorder = Recorder(MockAnnealer())
    recorder.tape = tape
    sampler = Annealer(recorder, tape.embedding, beta=4.0)
    said = sentence_of(sampler.sample, machine, 10)
    assert "a tape of its own" in said
    with pytest.raises(TapeError, match="kind is one of"):
        Tape("dream", {})


def test_answers_are_of_a_device_where_its_client_gave_them(tmp_path):
    class DWaveSampler(MockAnnealer):
        """As the client: no seed, and no word on what it is."""

        def __init__(self):
            super().__init__()
            del self.properties["kind"], self.parameters["seed"]

    machine, sampler = on(Recorder(DWaveSampler()))
    draws = sampler.sample(machine, 50)
    assert sampler.report["kind"] == "device"
    path = tmp_path / "tape.npz"
    sampler.device.tape.save(path)
    embedding = sampler.embedding
    again = backend("replay", machine, tape=path, embedding=embedding, beta=4.0)
    assert torch.equal(again.sample(machine, 50), draws)
    assert again.report["kind"] == again.device.tape.kind == "device"
