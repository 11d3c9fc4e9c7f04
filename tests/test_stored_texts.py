"""What programs and workers say in English is known to the pages, which say it in the reader's language."""

from __future__ import annotations

import ast
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation import override

from annotate.importing.problems import PROBLEM_LABELS
from config.templatetags.house import CAUSES, TEXTS, cause_words, stored_text
from models_registry.models import ModelImport
from models_registry.stored_texts import translate_stored
from models_registry.supervisor import _say_exit
from tests.catalogue import ROOT, list_sources
from training.engine.config import METHODS, ConfigErrors, TrainingConfig, list_settings
from training.engine.recipes import RECIPES
from training.engine_texts import REASONS, SETTINGS
from training.engine_texts import RECIPES as RECIPE_TEXTS
from training.forms import LABELS

NUMBER = "7"
"""Stands in the samples for whatever a program puts into a sentence."""

ENDINGS = ("", f" {NUMBER}/{NUMBER}", f": {NUMBER} of {NUMBER} responses")
"""What a helper of a program adds to the words it is given (passes.py, generate.py)."""

_FAILURES = {"ProgramError", "ModelFolderError", "WorkFailed", "FileProblem", "LineProblem", "fail", "_fail"}


def list_calls(*folders: str) -> Iterator[tuple[Path, ast.Call, str, dict[str, ast.expr]]]:
    """Every call below some folders: file, call, name of the function, and the texts that are made beforehand."""
    for path in list_sources(*folders):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named: dict[str, ast.expr] = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.JoinedStr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                yield path, node, name, named


def make_sample(node: ast.AST | None, named: dict[str, ast.expr]) -> str:
    """A text as the program may say it; empty where it is not written down at this place."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = []
    for part in node.values:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        known = named.get(inner.id) if isinstance(inner, ast.Name) else None
        parts.append(make_sample(known or part, named) or NUMBER)
    return "".join(parts)


def list_said() -> list[str]:
    """Progress, remarks and crashes of programs, supervisor and workers."""
    said = []
    for _path, call, name, named in list_calls("models_registry", "training/engine"):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        texts: list[ast.AST | None] = [keywords.get("message")] if name in ("report", "map_rows", "extend") else []
        if name in ("note", "WorkCrashed", "requeue") or (name == "report" and len(call.args) == 1):
            texts += call.args
        said += [make_sample(text, named) for text in texts]
    # Names of states are no words for people; what is put together of a sentence's parts is tested by itself below.
    return sorted({text for text in said if text[:1].isupper() and "The program 7" not in text})


def list_reasons() -> list[str]:
    """Why the engine's settings refuse a value, and the two that stand in lists of (field, reason)."""
    tree = ast.parse((ROOT / "training/engine/config.py").read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ValueError":
            found.append(node.args[0])
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
            second = node.elts[1]
            found += [second.body, second.orelse] if isinstance(second, ast.IfExp) else [second]
    samples = {make_sample(node, {}) for node in found}
    return sorted(text for text in samples if text.startswith(("must", "does", "is ", "cannot", "names")))


def test_the_samples_are_found() -> None:
    """Should the programs be written otherwise one day, the tests below must not pass for want of texts."""
    assert {"Starting", "Saving the model", "Downloading: 7 of 7 MB", "Evaluating"} <= set(list_said())
    assert {"must be a number", "must be at least 7", "is no setting"} <= set(list_reasons())


@pytest.mark.parametrize("text", list_said())
def test_what_programs_say_is_known(text: str) -> None:
    with override("ko"):
        said = [translate_stored(text + ending, TEXTS) for ending in ENDINGS]
    assert any(words and words != text for words in said), "add it to a module of stored texts"


@pytest.mark.parametrize("code", [1, -signal.SIGTERM, -signal.SIGKILL])
def test_how_a_program_ended_is_known(code: int) -> None:
    with override("ko"):
        words = translate_stored(f"The program {_say_exit(code)} before it was done.", TEXTS)
    assert words and words.startswith("프로그램이 끝나기 전에")


@pytest.mark.parametrize("text", list_reasons())
def test_reasons_of_refused_settings_are_known(text: str) -> None:
    with override("ko"):
        assert (translate_stored(text, REASONS) or text) != text


def test_every_code_of_a_cause_has_words() -> None:
    codes = set()
    for _path, call, name, _named in list_calls("annotate", "models_registry", "training"):
        if name in _FAILURES and name != "LineProblem":
            first = [arg.value for arg in call.args[:2] if isinstance(arg, ast.Constant)][:1]
            codes |= {code for code in first if isinstance(code, str) and " " not in code}
    assert {"nan_loss", "unreachable", "no_rows"} <= codes
    assert not codes - set(CAUSES)


def test_every_problem_of_a_line_has_words() -> None:
    calls = list_calls("annotate/importing")
    codes = {getattr(call.args[0], "value", "") for _path, call, name, _named in calls if name == "LineProblem"}
    assert "not_json" in codes and codes <= set(PROBLEM_LABELS)


@pytest.mark.parametrize("method", METHODS)
def test_the_texts_of_the_settings_are_listed(method: str) -> None:
    for setting in list_settings(method):
        named = [] if setting.name in LABELS else [setting.label]
        assert not {*named, setting.help, setting.group, *setting.choices} - set(SETTINGS), setting.name


def test_the_texts_of_the_recipes_are_listed() -> None:
    assert {text for recipe in RECIPES.values() for text in (recipe.title, recipe.reference)} == set(RECIPE_TEXTS)


def test_a_refusal_of_the_engine_is_shown_in_korean() -> None:
    with pytest.raises(ConfigErrors) as wrong:
        TrainingConfig.from_dict("dpo", {"beta": "-1"})
    with override("ko"):
        assert translate_stored(wrong.value.errors[0][1], REASONS) == "0.0001 이상이어야 합니다"


def test_texts_within_texts() -> None:
    summary = "1 comparison; 3 left out: both responses are the same text (2); no response came back (1)"
    with override("ko"):
        assert stored_text(summary) == "비교 1개, 3개 제외: 두 응답의 텍스트가 같음(2), 돌아온 응답 없음(1)"
    with override("en"):
        assert stored_text(summary) == summary
        assert stored_text("100% unknown (%s)") == "100% unknown (%s)"


def test_a_cause_keeps_its_detail() -> None:
    work = ModelImport(cause_code="unreachable", cause="The hub has no time (ConnectError).")
    with override("ko"):
        assert cause_words(work) == {"words": "모델을 내려받을 수 없었습니다.", "detail": work.cause}
    with override("en"):
        assert cause_words(work) == {"words": work.cause, "detail": ""}
    work.cause_code = "never seen"
    with override("ko"):
        assert cause_words(work) == {"words": work.cause, "detail": ""}
