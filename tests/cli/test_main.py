"""The command line answers fast, in words, and with the right exit code."""

import subprocess
import sys

import pytest

from kfdet.cli.main import build_parser, main
from kfdet.errors import ConfigError, DataError, KfdetError, UsageError


def end_of(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    output = capsys.readouterr()
    return end.value.code, output.out, output.err


def test_help_imports_nothing_that_takes_time():
    program = (
        "import sys; from kfdet.cli.main import build_parser; build_parser().format_help();"
        "print([m for m in ('pydantic','numpy','yaml','rich','kfp','tensorflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["valdate", "x.yaml"], 'Did you mean "validate"?'),
        (["data", "convert", "voq", "x"], 'Did you mean "voc"?'),
        (["run", "x.yaml", "--exitcode"], 'Did you mean "--exit-code"?'),
    ],
)
def test_a_typo_is_answered_with_the_closest_word(capsys, arguments, hint):
    code, _, err = end_of(capsys, *arguments)
    assert code == 2
    assert hint in err


def test_a_missing_configuration_is_a_configuration_error(capsys, tmp_path):
    code, _, err = end_of(capsys, "validate", str(tmp_path / "none.yaml"))
    assert code == 11
    assert "none.yaml: can't read: No such file or directory" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"), [(KfdetError, 1), (UsageError, 2), (DataError, 10), (ConfigError, 11)]
)
def test_each_kind_of_error_has_its_exit_code(capsys, monkeypatch, error, code):
    def fail(arguments):
        raise error("it is wrong", where="file", remedy="Mend it.")

    monkeypatch.setattr("kfdet.cli.compile.compile_verb", fail)
    ended, out, err = end_of(capsys, "compile")
    assert ended == code
    assert err == "kfdet: file: it is wrong. Mend it.\n"
    assert out == ""


def test_an_interruption_ends_with_130(capsys, monkeypatch):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("kfdet.cli.compile.compile_verb", interrupt)
    code, _, err = end_of(capsys, "compile")
    assert code == 130
    assert err == "kfdet: interrupted\n"


def test_every_verb_that_answers_takes_json():
    import argparse

    def leaves(parser, words=()):
        nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not nested:
            yield words, parser
        for action in nested:
            for name, verb in action.choices.items():
                yield from leaves(verb, (*words, name))

    verbs = dict(leaves(build_parser()))
    assert len(verbs) == 34
    for words, parser in verbs.items():
        assert "--json" in parser._option_string_actions, words


def test_help_is_the_golden_text():
    if sys.version_info[:2] != (3, 11):
        pytest.skip("argparse words its help differently in this version of Python")
    from pathlib import Path

    from scripts.generate import all_help

    golden = Path(__file__).resolve().parents[1] / "golden" / "help.txt"
    assert all_help() == golden.read_text(), "regenerate it with: make generate"
