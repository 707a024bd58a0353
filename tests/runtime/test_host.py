"""The host's target record and the environment variables it obeys."""

import pytest

from tapejit.runtime import host


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("TAPEJIT_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def test_target_describes_this_machine():
    target = host.target()
    assert target.kind == "cpu"
    assert target.cpu
    assert target.vector_bits in (128, 256, 512)
    assert 4096 <= target.l1 < target.l2 <= 2**30
    assert target.cores >= 1
    assert target.threads == target.cores
    assert target == host.target()
    assert hash(target) == hash(host.target())
    assert host.target(threads=3).threads == 3


def test_variables_are_obeyed_in_order(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert host.num_threads() == 5
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    assert host.num_threads() == 4
    monkeypatch.setenv("TAPEJIT_NUM_THREADS", "3")
    assert host.target().threads == 3
    monkeypatch.setenv("TAPEJIT_NUM_THREADS", "")
    assert host.num_threads() == 4


@pytest.mark.parametrize("text", ["zero", "0", "-2", "1.5"])
def test_nonsense_is_an_error_that_names_the_variable(monkeypatch, text):
    monkeypatch.setenv("TAPEJIT_NUM_THREADS", text)
    with pytest.raises(ValueError, match="TAPEJIT_NUM_THREADS"):
        host.num_threads()
