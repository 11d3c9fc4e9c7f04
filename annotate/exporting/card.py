"""The README.md of a dataset folder: read by people, and by ``datasets.load_dataset`` for the splits and columns."""

from __future__ import annotations

from collections.abc import Iterable

from annotate.exporting.aggregate import LEFT_OUT_LABELS
from annotate.exporting.rule import STRENGTHS, Aggregation, DatasetRule, describe_rule
from annotate.exporting.split import EVAL, TRAIN
from annotate.exporting.tally import Tally
from annotate.exporting.weigh import Weighing, describe_weighing
from annotate.models import SIDELESS_GRADES, DatasetVersion, Grade, Import
from models_registry.models import ModelVersion

SPLIT_NAMES = {TRAIN: "train", EVAL: "test"}
"""Our part: what other tools call it."""

# Columns are declared, not guessed: a column that is empty in one file still has the same type in both.
_MESSAGES = "\n".join(
    ("    list:", "    - name: role", "      dtype: string", "    - name: content", "      dtype: string")
)
_TYPES = {
    "prompt": _MESSAGES,
    "chosen": _MESSAGES,
    "rejected": _MESSAGES,
    "margin": "    dtype: float64",
    "grade": "    dtype: string",
    "votes": "    dtype: int64",
    "votes_for": "    dtype: int64",
    "votes_chosen_left": "    dtype: int64",
    "agreement": "    dtype: float64",
    "comparison_id": "    dtype: int64",
    "prompt_id": "    dtype: int64",
    "chosen_response_id": "    dtype: int64",
    "rejected_response_id": "    dtype: int64",
    "judgment_ids": "    list: int64",
    "adjudication_id": "    dtype: int64",
    "safety": "    dtype: string",
}

_COLUMNS = """\
| column | meaning |
|---|---|
| `prompt` | the dialogue so far, a list of `{role, content}`; the last turn is the user's |
| `chosen`, `rejected` | the better and the other response, each a list with one assistant message |
| `margin` | mean strength of the winning votes: STRENGTHS |
| `grade` | lower median of the winning votes' grades; null where an imported file named the winner |
| `votes`, `votes_for`, `agreement` | votes heard (without a side too), votes for the chosen side, their quotient |
| `votes_chosen_left` | of these votes, whichever way, those of labelers who saw the chosen response on the left |
| `comparison_id`, `prompt_id`, `judgment_ids` | the comparison, its prompt and the votes behind the row |
| `adjudication_id` | the reviewer's decision in place of votes; null where votes decided |
| `chosen_response_id`, `rejected_response_id` | the two responses |
| `safety` | which are safe, each by most votes (a tie is unsafe): both, chosen, neither; null where not asked |
"""


_EXTRA_TYPES = {
    "soft_label": "    dtype: float64",
    "weight": "    dtype: float64",
    "rewrite": "    dtype: bool",
    "reasons": "\n".join(
        (
            "    list:",
            "    - name: judgment_id",
            "      dtype: int64",
            "    - name: rationale",
            "      dtype: string",
            "    - name: tags",
            "      list: string",
        )
    ),
}
_EXTRA_COLUMNS = {
    "soft_label": "| `soft_label` | the probability that the chosen response is the better one, given who voted how |",
    "weight": "| `weight` | how sure that is: 2 · `soft_label` - 1 |",
    "rewrite": "| `rewrite` | whether `chosen` is a labeler's own text, better than what they rewrote; has no grade |",
    "reasons": "| `reasons` | what labelers said beside their votes: `{judgment_id, rationale, tags}` |",
}
"""Of rules that ask for them."""


def _name_extra(rule: DatasetRule) -> list[str]:
    weighed = ["soft_label", "weight"] if rule.aggregation == Aggregation.WEIGHED else []
    return weighed + ["rewrite"] * rule.include_rewrites + ["reasons"] * rule.include_reasons


def write_card(
    version: DatasetVersion, rule: DatasetRule, tally: Tally, digests: dict[str, str], weighing: Weighing | None = None
) -> str:
    """The card's text; ``digests`` holds the SHA-256 of each part. The same version gives the same text."""
    return "\n".join(
        [
            "---",
            *_describe_files(tally, rule),
            "tags:",
            "- preference",
            "- rlhf",
            "- dpo",
            "---",
            "",
            f"# Preference pairs, version {version.number}",
            "",
            f"Frozen by Plumbline on {version.created_at:%Y-%m-%d}. {tally.total_rows} pairs of"
            f" {tally.comparisons} comparisons.",
            "",
            "## Rule",
            "",
            *(f"- {sentence}" for sentence in describe_rule(rule)),
            "",
            "## Files",
            "",
            "| file | rows | SHA-256 |",
            "|---|---|---|",
            *(f"| `{split}.jsonl` | {tally.rows[split]} | `{digests[split]}` |" for split in (TRAIN, EVAL)),
            "",
            "## Columns",
            "",
            _COLUMNS.replace("STRENGTHS", ", ".join(f"{grade} {value:.4g}" for grade, value in STRENGTHS.items()))
            + "".join(f"{_EXTRA_COLUMNS[name]}\n" for name in _name_extra(rule)),
            *(["## Weights of labelers", "", *describe_weighing(weighing), ""] if weighing else []),
            *_describe_rulings(tally),
            "## Left out",
            "",
            *([f"- {LEFT_OUT_LABELS[why]}: {count}" for why, count in tally.left_out.most_common()] or ["Nothing."]),
            "",
            "Votes without a side, which never make a pair: "
            + ", ".join(f"{Grade(grade).label} {tally.sideless[grade]}" for grade in SIDELESS_GRADES)
            + ".",
            "",
            "## Sources and licences",
            "",
            *_describe_sources(tally),
            "",
        ]
    )


def _describe_files(tally: Tally, rule: DatasetRule) -> Iterable[str]:
    yield from ("configs:", "- config_name: default", "  data_files:")
    for split in (TRAIN, EVAL):
        if tally.rows[split]:  # a part without a row is no split for those who read it
            yield from (f"  - split: {SPLIT_NAMES[split]}", f"    path: {split}.jsonl")
    yield from ("dataset_info:", "- config_name: default", "  features:")
    for name, kind in (_TYPES | {name: _EXTRA_TYPES[name] for name in _name_extra(rule)}).items():
        yield from (f"  - name: {name}", kind)


def _describe_rulings(tally: Tally) -> Iterable[str]:
    if tally.adjudicated_rows:
        yield from ("## Adjudicated", "")
        yield "A reviewer, who had answered the pair blind before seeing any vote, decided these rows in place of the"
        yield f"votes: {tally.adjudicated_rows}. Their `votes` and `votes_for` are 1."
        yield ""


def _describe_sources(tally: Tally) -> Iterable[str]:
    """Imported files by their digest, never by a name that a person typed; models by name and licence."""
    for source in Import.objects.filter(pk__in=tally.import_ids).order_by("pk"):
        yield f"- An imported file ({source.format}), SHA-256 `{source.sha256}`. Its licence goes with its texts."
    for model in ModelVersion.objects.filter(pk__in=tally.model_ids).order_by("pk"):
        yield f"- Responses of the model `{model.name}`; licence: {model.licence or 'not stated'}."
    yield "- State a licence of your own for the judgments before you pass this folder on."
