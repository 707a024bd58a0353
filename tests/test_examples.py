"""The examples run as users run them, with fewer steps, and find what they say they find."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_digits_are_read_by_97_in_100_eagerly_and_traced_alike(tmp_path, capsys):
    picture = tmp_path / "digits.png"
    traced, eager = load("digits").main(["--show", "traced", "--picture", str(picture)])
    assert traced.accuracy >= 0.97
    assert eager.accuracy >= 0.97
    np.testing.assert_allclose(traced.losses, eager.losses, atol=1e-3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "dw1, db1, dw2, db2 = tape.gradient([loss], [state.w1, state.b1, state.w2, state.b2])" in printed
    assert "speed-up" in printed


def test_linear_regression_finds_the_line():
    slope, offset = load("linear_regression").main(["--steps", "100"])
    assert slope == pytest.approx(3.0, abs=0.06)
    assert offset == pytest.approx(2.0, abs=0.06)


def test_physics_informed_network_follows_the_oscillator():
    assert load("physics_informed").main(["--steps", "5000"]) < 0.05


def test_gan_learns_the_ring(tmp_path):
    found = load("gan").main(["--steps", "2500", "--picture", str(tmp_path / "gan.png")])
    assert found.radius == pytest.approx(2.0, abs=0.3)
    assert found.spread < 0.4
    assert found.rarest_eighth > 0.03
    assert (tmp_path / "gan.png").read_bytes().startswith(b"\x89PNG")


def test_ode_fit_finds_the_rates():
    found = load("ode_fit").main([])
    assert found == pytest.approx({"birth": 1.1, "hunting": 0.4, "growth": 0.1, "death": 0.4}, rel=0.05)


@pytest.mark.parametrize(
    "name",
    [
        "digits",
        "linear_regression",
        "physics_informed",
        "gan",
        "ode_fit",
        "bench_peers",
        "bench_eager",
        "bench_import",
        "bench_linalg",
        "bench_fft",
        "bench_lookup",
        "bench_loops",
        "bench_keras",
        "keras_digits",
        "keras_convolution",
        "keras_gan",
        "keras_text",
        "keras_transfer",
    ],
)
def test_each_says_how_it_is_run(name, capsys):
    with pytest.raises(SystemExit) as stop:
        load(name).main(["--help"])
    assert stop.value.code == 0
    assert f"python examples/{name}.py" in capsys.readouterr().out


def test_peers_are_timed():
    found = load("bench_peers").main(["--rounds", "2", "--seconds", "0.001"])
    assert len(found) == 4
    assert all(microseconds > 0 for microseconds, _ in found.values())


def test_eager_ops_are_timed():
    assert all(microseconds > 0 for microseconds in load("bench_eager").main(["--repetitions", "1"]).values())


def test_factorizations_are_timed(capsys):
    load("bench_linalg").main(["--only", "tapejit", "--rounds", "1", "--seconds", "0.001"])
    assert all(milliseconds > 0 for milliseconds in json.loads(capsys.readouterr().out).values())


def test_loops_are_timed():
    found = load("bench_loops").main(["--rounds", "1"])
    assert len(found) >= 2
    assert all(microseconds > 0 for microseconds in found.values())


def test_steps_by_rows_are_timed_and_agree_with_those_of_the_whole_table():
    found = load("bench_lookup").main(["--rounds", "3"])
    assert set(found) == {"rows (IndexedSlices)", "whole table (dense)"}


def test_the_import_is_timed():
    assert 0 < load("bench_import").main(["--processes", "1"]) < 60


def test_the_benchmark_of_pipelines_times_each():
    times = load("bench_data").main(["--rows", "64", "--columns", "3", "--batch", "8", "--rounds", "1"])
    assert {"batch", "shuffle(all).batch", "map.batch"} <= set(times)
    assert all(t > 0 for t in times.values())


def test_bench_fft_runs(capsys):
    load("bench_fft").main(["--rounds", "1"])
    assert capsys.readouterr().out.count("tapejit") == 6


def test_a_recording_is_fitted(capsys):
    found = load("recording").main([])
    np.testing.assert_allclose(found.parameters, [1.3, 0.15], atol=0.01)
    assert "def misfit(parameters: f64[2]) -> (f64, f64[2]):" in capsys.readouterr().out


def test_jacobians_are_those_of_jax_where_it_is_there(capsys):
    found = load("bench_jacobian").main(["--rounds", "1"])
    assert all({"eager", "traced"} <= set(ways) for ways in found.values())


with_keras = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed: pip install 'tapejit[keras]'")


@with_keras
def test_fit_and_a_loop_read_digits_alike(capsys):
    fitted, looped = load("keras_digits").main(["--epochs", "12", "--summary"])
    assert fitted.accuracy >= 0.96
    assert looped.accuracy >= 0.96
    np.testing.assert_allclose(fitted.losses, looped.losses, rtol=1e-3)
    for ours, theirs in zip(fitted.weights, looped.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert "Total params" in capsys.readouterr().out


@with_keras
def test_a_convolutional_network_reads_digits_and_comes_back_from_its_file(tmp_path):
    found = load("keras_convolution").main(["--epochs", "10", "--keep", str(tmp_path / "digits.keras")])
    assert found.accuracy >= 0.93
    assert found.confusion.sum() == 360
    assert found.reloaded == pytest.approx(found.accuracy)
    assert (tmp_path / "digits.keras").exists()


@with_keras
def test_a_gan_of_keras_networks_learns_the_ring():
    found = load("keras_gan").main(["--steps", "3000"])
    assert found.radius == pytest.approx(2.0, abs=0.3)
    assert found.spread < 0.4
    assert found.rarest_eighth > 0.03


@with_keras
def test_an_lstm_knows_more_of_a_text_than_its_frequencies(capsys):
    found = load("keras_text").main(["--epochs", "4", "--length", "50000", "--written", "20"])
    assert found.network == sorted(found.network, reverse=True)
    assert found.network[-1] < found.characters - 0.4
    assert "The expression " in capsys.readouterr().out


@with_keras
def test_weights_go_from_model_to_model():
    found = load("keras_transfer").main(["--epochs", "7"])
    assert found.first >= 0.95
    assert found.copied < 1e-4
    assert found.from_file < 1e-4
    assert found.kept_still
    assert found.transferred > 0.6


@with_keras
def test_keras_is_timed():
    bench = load("bench_keras")
    found = bench.main(["--rounds", "1", "--epochs", "1"])
    assert all(milliseconds > 0 for times in found.values() for milliseconds in times)
    assert list(found) == list(bench.CASES)
