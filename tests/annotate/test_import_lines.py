"""Ten and more kinds of bad lines: each has a line number, a code, a field and a reason, and none stops the others."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.importing import lines as lines_module
from annotate.importing.problems import PROBLEM_LABELS, FileProblem
from annotate.importing.reader import PARSERS, read_rows
from annotate.importing.report import Report
from annotate.importing.rows import PairRow, Row

GOOD = {"prompt": "How long do eggs boil?", "responses": ["Six minutes.", "A while."]}


def dump(**changes: Any) -> bytes:
    fields = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    return json.dumps(fields, ensure_ascii=False).encode()


def read(tmp_path: Path, content: bytes, format: str = "pairs") -> tuple[list[tuple[int, Row]], Report]:
    path = tmp_path / "upload"
    path.write_bytes(content)
    report = Report()
    return list(read_rows(path, format, report)), report


BAD_LINES: dict[str, tuple[bytes, str, str]] = {
    # name: (line, code, field)
    "not JSON": (b'{"prompt": "a", ', "not_json", ""),
    "nothing but text": (b"hello", "not_json", ""),
    "a list": (b'["a", "b"]', "not_object", ""),
    "a single-quoted dict": (b"{'prompt': 'a'}", "not_json", ""),
    "not UTF-8": (b'{"prompt": "caf\xe9", "responses": ["a", "b"]}', "not_utf8", ""),
    "NaN": (b'{"prompt": "a", "responses": ["a", "b"], "score": NaN}', "number_not_finite", ""),
    "minus infinity": (b'{"prompt": "a", "responses": ["a", "b"], "score": -Infinity}', "number_not_finite", ""),
    "1e999": (b'{"prompt": "a", "responses": ["a", "b"], "score": 1e999}', "number_not_finite", ""),
    "5,000 digits": (
        b'{"prompt": "a", "responses": ["a", "b"], "score": ' + b"7" * 5000 + b"}",
        "number_too_long",
        "",
    ),
    "duplicate key": (b'{"prompt": "a", "prompt": "b", "responses": ["a", "b"]}', "duplicate_key", "prompt"),
    "duplicate key inside": (
        b'{"prompt": [{"role": "user", "role": "user", "content": "x"}], "responses": ["a", "b"]}',
        "duplicate_key",
        "role",
    ),
    "depth 100,000": (b"[" * 100_000 + b"]" * 100_000, "too_deep", ""),
    "depth 33": (b'{"prompt": "a", "x": ' + b"[" * 32 + b"]" * 32 + b"}", "too_deep", ""),
    "NUL": (dump(prompt="a\x00b"), "nul_character", "prompt"),
    "raw NUL": (b'{"prompt": "a\x00b", "responses": ["a", "b"]}', "not_json", ""),
    "lone surrogate": (
        b'{"prompt": "a", "responses": ["\\ud83d", "b"]}',
        "lone_surrogate",
        "responses[0]",
    ),
    "no prompt": (dump(prompt=...), "missing_field", "prompt"),
    "null prompt": (dump(prompt=None), "missing_field", "prompt"),
    "no responses": (dump(responses=...), "missing_field", "responses"),
    "one response": (dump(responses=["a"]), "wrong_type", "responses"),
    "responses as text": (dump(responses="ab"), "wrong_type", "responses"),
    "response as number": (dump(responses=["a", 7]), "wrong_type", "responses[1]"),
    "prompt as number": (dump(prompt=7), "wrong_type", "prompt"),
    "blank prompt": (dump(prompt=" \n\t"), "empty_text", "prompt"),
    "no messages": (dump(prompt=[]), "empty_text", "prompt"),
    "empty response": (dump(responses=["", "b"]), "empty_text", "responses[0]"),
    "field too long": (dump(prompt="é" * 32_001), "field_too_long", "prompt"),
    "line too long": (dump(prompt="x" * 1_000_001), "line_too_long", ""),
    "unknown role": (dump(prompt=[{"role": "human", "content": "x"}]), "bad_role", "prompt[0]"),
    "role as list": (dump(prompt=[{"role": ["user"], "content": "x"}]), "bad_role", "prompt[0]"),
    "late system turn": (
        dump(prompt=[{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]),
        "bad_role",
        "prompt[1]",
    ),
    "message without content": (dump(prompt=[{"role": "user"}]), "missing_field", "prompt[0].content"),
    "message as text": (dump(prompt=["x"]), "wrong_type", "prompt[0]"),
    "ends with the assistant": (
        dump(prompt=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]),
        "last_turn",
        "prompt",
    ),
    "same responses": (dump(responses=["a", "a"]), "identical_responses", "responses"),
    "winner c": (dump(winner="c"), "bad_winner", "winner"),
    "winner 1": (dump(winner=1), "bad_winner", "winner"),
    "two forms": (dump(chosen="a", rejected="b"), "two_forms", "responses"),
    "winner with chosen": (dump(responses=..., chosen="a", rejected="b", winner="a"), "two_forms", "winner"),
    "no rejected": (dump(responses=..., chosen="a"), "missing_field", "rejected"),
    "dialogues that differ": (
        dump(
            prompt=...,
            responses=...,
            chosen=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "a"}],
            rejected=[{"role": "user", "content": "y"}, {"role": "assistant", "content": "b"}],
        ),
        "prompts_differ",
        "rejected",
    ),
    "id as list": (dump(id=[1]), "wrong_type", "id"),
    "id used before": (dump(id="first"), "duplicate_id", "id"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line_is_reported_and_its_neighbours_are_read(tmp_path: Path, name: str) -> None:
    line, code, field = BAD_LINES[name]
    before, after = dump(prompt="before", id="first"), dump(prompt="after")
    rows, report = read(tmp_path, b"\n".join([before, line, after]) + b"\n")
    assert [number for number, _row in rows] == [1, 3]
    assert report.bad_lines == 1 and report.problems == {code: 1}
    (problem,) = report.listed
    assert (problem["line"], problem["code"], problem["field"]) == (2, code, field)
    assert problem["reason"].endswith((".", ".)")) and len(problem["reason"]) < 300
    assert code in PROBLEM_LABELS
    json.dumps(report.as_json(), allow_nan=False).encode()  # what PostgreSQL must store
    assert "\\u0000" not in json.dumps(report.as_json())


def test_whole_report_of_all_kinds_at_once(tmp_path: Path) -> None:
    content = b"\n".join([dump(id="first"), *(line for line, _code, _field in BAD_LINES.values())])
    rows, report = read(tmp_path, content)
    assert len(rows) == 1
    assert report.bad_lines == len(BAD_LINES) == sum(report.problems.values())
    assert [entry["line"] for entry in report.listed] == list(range(2, len(BAD_LINES) + 2))


def test_only_the_first_thousand_problems_are_listed_but_all_are_counted(tmp_path: Path) -> None:
    _rows, report = read(tmp_path, b"x\n" * 1500)
    assert len(report.listed) == 1000 and report.problems == {"not_json": 1500}


TRAPS = [
    "line\u2028separator\u2029and\x85next\x0bline\x0cfeed",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[link](javascript:alert(1)) **bold** `code`",
    "שלום \u200f עולם \u202eevil\u202c zero\u200bwidth",
    "  blanks around \t",
    "한국어와 emoji 👩‍👩‍👧",
    "cr\r\nlf",
]


@pytest.mark.parametrize("text", TRAPS)
def test_texts_are_kept_byte_for_byte(tmp_path: Path, text: str) -> None:
    rows, report = read(tmp_path, dump(prompt=text, responses=[text, text + "!"]))
    assert report.bad_lines == 0
    ((number, row),) = rows
    assert isinstance(row, PairRow)
    assert (number, row.messages[0]["content"], row.first, row.second) == (1, text, text, text + "!")


def test_line_ends_marks_and_blanks(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + dump(prompt="a") + b"\r\n\r\n  \n" + dump(prompt="b")
    rows, report = read(tmp_path, content)
    assert [number for number, _row in rows] == [1, 4]
    assert report.blank_lines == 2 and report.notes == {"byte_order_mark": 1} and report.bad_lines == 0


def test_unknown_fields_are_not_kept_but_counted(tmp_path: Path) -> None:
    lines = [
        dump(prompt="a", score=1),
        dump(prompt="b", score=2, tags=[]),
        dump(prompt=[{"role": "user", "content": "c", "name": "x"}]),
    ]
    rows, report = read(tmp_path, b"\n".join(lines))
    assert len(rows) == 3 and report.bad_lines == 0
    assert report.ignored_fields == {"score": 2, "tags": 1, "messages[].name": 1}


def test_a_repeated_line_is_counted_and_left_out_in_either_order_of_its_responses(tmp_path: Path) -> None:
    lines = [dump(), dump(), dump(responses=GOOD["responses"][::-1]), dump(responses=["Six minutes.", "Ten."])]
    rows, report = read(tmp_path, b"\n".join(lines))
    assert [number for number, _row in rows] == [1, 4]
    assert report.duplicates_in_file == 2 and report.bad_lines == 0


def test_conversational_preference_with_explicit_and_implicit_prompt(tmp_path: Path) -> None:
    user, good, bad = ({"role": "user", "content": "Hi"}, *({"role": "assistant", "content": c} for c in "ab"))
    lines = [
        json.dumps({"prompt": [user], "chosen": [good], "rejected": [bad]}),
        json.dumps({"chosen": [user | {"content": "Hello"}, good], "rejected": [user | {"content": "Hello"}, bad]}),
        json.dumps({"prompt": "Plain", "chosen": "a", "rejected": "b"}),
    ]
    rows, report = read(tmp_path, "\n".join(lines).encode())
    assert report.bad_lines == 0 and report.recorded_winners == 3
    pairs = [row for _n, row in rows if isinstance(row, PairRow)]
    assert [(row.messages[0]["content"], row.first, row.second, row.winner) for row in pairs] == [
        ("Hi", "a", "b", "a"),
        ("Hello", "a", "b", "a"),
        ("Plain", "a", "b", "a"),
    ]


def test_gzip_is_read_like_plain(tmp_path: Path) -> None:
    rows, _report = read(tmp_path, gzip.compress(dump(prompt="a") + b"\n") + gzip.compress(dump(prompt="b")))
    assert [number for number, _row in rows] == [1, 2]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (gzip.compress(b"x" * 50_000_000), "gzip_ratio"),
        (gzip.compress(b"\n" * 50_000_000), "gzip_ratio"),
        (gzip.compress(dump() * 100)[:-20], "gzip_damaged"),
        (gzip.compress(dump()) + b"garbage after the end", "gzip_damaged"),
        (b"\x1f\x8b", "gzip_damaged"),
        (json.dumps(GOOD).encode("utf-16"), "not_utf8_file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(FileProblem) as caught:
        read(tmp_path, content)
    assert caught.value.code == code


def test_too_much_text_ends_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_FILE_BYTES", 1000)
    with pytest.raises(FileProblem, match="MB"):
        read(tmp_path, (dump() + b"\n") * 20)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["prompt", "responses", "chosen", "rejected", "winner", "id", "role", "content", "messages", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
CHUNKS = st.lists(
    st.binary(max_size=60)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"\n", b"\r\n", b"\xef\xbb\xbf", b"\x1f\x8b", b"\xff\xfe", b'"\\', b"[" * 40]),
    max_size=12,
)


@settings(max_examples=300)
@given(content=CHUNKS.map(b"".join) | CHUNKS.map(b"\n".join), format=st.sampled_from(sorted(PARSERS)))
def test_arbitrary_bytes_raise_nothing_but_reported_problems(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, format: str
) -> None:
    folder = tmp_path_factory.mktemp("bytes", numbered=True)
    try:
        rows, report = read(folder, content, format)
    except FileProblem as problem:
        assert problem.reason
        return
    assert report.lines == report.blank_lines + report.good_lines + report.bad_lines
    assert len(rows) == report.good_lines - report.duplicates_in_file
    assert sum(report.problems.values()) == report.bad_lines and set(report.problems) <= set(PROBLEM_LABELS)
    json.dumps(report.as_json(), allow_nan=False).encode()


@settings(max_examples=300)
@given(value=JSON_VALUES, format=st.sampled_from(sorted(PARSERS)))
def test_arbitrary_json_raises_nothing_but_reported_problems(
    tmp_path_factory: pytest.TempPathFactory, value: Any, format: str
) -> None:
    wrapped = {"prompt": "p", "responses": ["a", "b"]} | value if isinstance(value, dict) else value
    folder = tmp_path_factory.mktemp("json", numbered=True)
    _rows, report = read(folder, json.dumps(wrapped).encode(), format)
    assert report.good_lines + report.bad_lines == 1
