"""`python -m tapejit`: what it prints, and its exit status."""

import pytest

from tapejit.__main__ import main

PROGRAM = """
import tapejit as tf

w = tf.Variable(3.0, name="w")

@tf.function
def scaled(x):
    return w * x
"""
TEXT = """def double(r: f32[N]) -> f32[N]:
    N = size(r, 0)
    twice: f32[N] = 2.0 * r
    return twice
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "double.ir"
    path.write_text(TEXT)
    return str(path)


def test_show_prints_a_function_of_a_file(program, capsys):
    assert main(["show", f"{program}:scaled", "--args", "tf.ones([2])"]) == 0
    assert "mul_: f32[2] = w * x" in capsys.readouterr().out


def test_show_prints_a_text_at_a_stage(text, capsys):
    assert main(["show", text]) == 0
    assert capsys.readouterr().out.strip() == TEXT.strip()
    assert main(["show", text, "--stage", "kernels"]) == 0
    assert "2.0 * r[i0]" in capsys.readouterr().out


def test_opt_stops_after_a_pass(text, capsys):
    assert main(["opt", text, "--until", "prune"]) == 0
    assert "twice: f32[N] = 2.0 * r" in capsys.readouterr().out


def test_run_calls_functions_and_texts(program, text, capsys):
    assert main(["run", f"{program}:scaled", "--args", "2.0"]) == 0
    assert "tf.Tensor(6.0" in capsys.readouterr().out
    assert main(["run", text, "--args", "[1.0, 2.0]"]) == 0
    assert "[2. 4.]" in capsys.readouterr().out


def test_compare_prints_a_table(program, capsys):
    assert main(["compare", f"{program}:scaled", "--args", "tf.ones([2])"]) == 0
    assert "largest difference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nowhere.py:f"], "there is no file 'nowhere.py'"),
        (["show", "{program}:other"], "no traced function 'other'; it has scaled"),
        (["show", "{program}"], "write FILE:NAME"),
        (["show", "{program}:scaled"], "give its arguments with --args"),
        (["run", "{program}:scaled", "--args", "nothing"], "NameError"),
        (["compare", "{program}:scaled"], "give the arguments of scaled with --args"),
        (["opt", "{text}", "--until", "never"], "there is no pass 'never'"),
        (["nonsense"], "invalid choice"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, said, program, text, capsys):
    assert main([a.format(program=program, text=text) for a in arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_text_with_mistakes_is_wrong_usage(tmp_path, capsys):
    path = tmp_path / "wrong.ir"
    path.write_text(TEXT.replace("2.0 * r", "2.0 * q"))
    assert main(["run", str(path), "--args", "[1.0]"]) == 2
    assert "line 3: unknown name q" in capsys.readouterr().err


def test_the_cache_is_listed_and_emptied(tmp_path, monkeypatch, program, capsys):
    monkeypatch.setenv("TAPEJIT_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["run", f"{program}:scaled", "--args", "tf.ones([5])"]) == 0
    assert main(["cache", "ls"]) == 0
    assert "scaled" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert main(["cache", "ls"]) == 0
    assert "0 programs, 0 bytes" in capsys.readouterr().out
