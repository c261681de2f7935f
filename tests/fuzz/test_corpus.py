"""Every input of the corpus, those that once broke something among them, holds what its target promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_of_the_corpus_holds_what_is_promised(path: Path):
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_inputs_to_begin_with():
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
