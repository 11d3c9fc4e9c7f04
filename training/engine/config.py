"""Hyper-parameters of a run: types, bounds, defaults by method and help texts, stated once.

The launch form is drawn from this file and checked by it, and so is ``config.json``. The web process imports it: no
torch here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

METHOD_LABELS = {
    "sft": "SFT (supervised fine-tuning)",
    "reward": "Reward model",
    "dpo": "DPO (direct preference optimisation)",
    "ipo": "IPO (identity preference optimisation)",
    "kto": "KTO (Kahneman-Tversky optimisation)",
    "orpo": "ORPO (odds ratio preference optimisation)",
    "cpo": "CPO (contrastive preference optimisation)",
    "simpo": "SimPO (simple preference optimisation)",
    "arpo": "ARPO (adaptive rejection preference optimisation)",
}
METHODS = tuple(METHOD_LABELS)
PAIR_METHODS = tuple(method for method in METHODS if method != "sft")
POLICY_METHODS = tuple(method for method in METHODS if method != "reward")
SOFT_LABEL_METHODS = ("reward", "dpo", "ipo", "orpo", "cpo", "simpo", "arpo")

GRADES = ("significantly", "better", "slightly", "negligibly", "unsure")
MARGIN_PRESETS: dict[str, dict[str, float]] = {
    "none": {},
    "small": {"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0},
    "large": {"significantly": 3.0, "better": 2.0, "slightly": 1.0, "negligibly": 0.0},
}
"""What number a grade becomes in the loss: Llama 2 (arXiv 2307.09288), Table 27.

The scale of three grades, which has no ``better``, takes the numbers of the others.
"""
LARGEST_MARGIN = 100.0


class ConfigErrors(ValueError):
    """Everything wrong with a configuration: ``errors`` is a list of (field, reason)."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in errors))
        self.errors = errors


@dataclass(frozen=True)
class Setting:
    """One field as a form needs it."""

    name: str
    type: type
    default: Any
    label: str
    help: str
    group: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    methods: tuple[str, ...]


def _setting(
    default: Any,
    group: str,
    text: str,
    *,
    bounds: tuple[float | None, float | None] = (None, None),
    choices: tuple[str, ...] = (),
    methods: tuple[str, ...] = METHODS,
    by_method: Mapping[str, Any] | None = None,
) -> Any:
    metadata = {
        "group": group,
        "help": text,
        "bounds": bounds,
        "choices": choices,
        "methods": methods,
        "by_method": by_method or {},
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainingConfig:
    """Checked hyper-parameters; make one with :meth:`from_dict`."""

    method: str
    learning_rate: float = _setting(
        5e-6,
        "Optimisation",
        "Peak step size of AdamW. With LoRA, about ten times the value for full fine-tuning works well.",
        bounds=(1e-9, 1.0),
        by_method={"sft": 2e-5, "reward": 2e-5, "ipo": 1e-6, "kto": 1e-6, "orpo": 8e-6, "simpo": 1e-6},
    )
    epochs: float = _setting(
        1.0, "Optimisation", "Passes over the training pairs. Reward models overfit after one.", bounds=(0.01, 100)
    )
    max_steps: int = _setting(0, "Optimisation", "Stop after this many steps; 0 means no limit.", bounds=(0, 10**7))
    batch_size: int = _setting(
        4, "Optimisation", "Pairs in one forward pass on each device. Limits memory.", bounds=(1, 1024)
    )
    gradient_accumulation: int = _setting(
        2, "Optimisation", "Forward passes in one step. The step sees batch size × this many pairs.", bounds=(1, 1024)
    )
    schedule: str = _setting(
        "cosine",
        "Optimisation",
        "How the learning rate falls after warm-up: cosine ends at a tenth, linear at zero, inverse square root falls "
        "with one over the root of the steps.",
        choices=("cosine", "linear", "constant", "inverse square root"),
    )
    warmup_ratio: float = _setting(0.05, "Optimisation", "Share of the steps that warm up linearly.", bounds=(0, 0.9))
    warmup_steps: int = _setting(
        0, "Optimisation", "Warm up for at least this many steps, whatever the share.", bounds=(0, 10**6)
    )
    weight_decay: float = _setting(0.0, "Optimisation", "AdamW's weight decay on matrices.", bounds=(0, 1))
    max_grad_norm: float = _setting(
        1.0, "Optimisation", "Gradients are scaled down to this norm; 0 switches it off.", bounds=(0, 1000)
    )
    seed: int = _setting(42, "Optimisation", "Fixes order and initialisation.", bounds=(0, 2**31 - 1))
    beta: float = _setting(
        0.1,
        "Loss",
        "DPO, IPO, KTO: how strongly the policy is held near the reference. ORPO: weight of the odds ratio term. "
        "CPO, SimPO, ARPO: scale of the log-probabilities.",
        bounds=(1e-4, 100),
        methods=("dpo", "ipo", "kto", "orpo", "cpo", "simpo", "arpo"),
        by_method={"simpo": 2.0},
    )
    dpo_loss: str = _setting(
        "sigmoid",
        "Loss",
        "sigmoid is the paper's, smoothed as conservative DPO; robust corrects for a known share of wrong labels; "
        "hinge stops at a gap of one.",
        choices=("sigmoid", "robust", "hinge"),
        methods=("dpo",),
    )
    ipo_average: str = _setting(
        "mean",
        "Loss",
        "Log-probabilities averaged over the tokens of a reply, as the authors advise, or summed.",
        choices=("mean", "sum"),
        methods=("ipo",),
    )
    label_smoothing: float = _setting(
        0.0,
        "Loss",
        "Share of judgments assumed to be wrong.",
        bounds=(0, 0.499),
        methods=("dpo", "cpo", "simpo", "arpo"),
    )
    gamma_ratio: float = _setting(
        0.5,
        "Loss",
        "SimPO's target margin γ as a share of β: by how much the average log-probabilities have to differ.",
        bounds=(0, 10),
        methods=("simpo",),
    )
    nll_weight: float = _setting(
        1.0,
        "Loss",
        "Weight of the language modelling term on the chosen reply; 0 leaves it out.",
        bounds=(0, 100),
        methods=("cpo", "simpo", "arpo"),
        by_method={"simpo": 0.0},
    )
    arpo_form: str = _setting(
        "code",
        "Loss",
        "How the penalty on the rejected reply adapts: min(c1·exp(c2·gap) − 1, 1) as in the authors' code, or without "
        "c1 as in their paper.",
        choices=("code", "paper"),
        methods=("arpo",),
    )
    arpo_c1: float = _setting(
        0.9, "Loss", "ARPO's factor c1; the paper's form has none.", bounds=(0, 10), methods=("arpo",)
    )
    arpo_c2: float = _setting(0.4, "Loss", "ARPO's exponent c2 (η in the paper).", bounds=(0, 10), methods=("arpo",))
    desirable_weight: float = _setting(
        1.0, "Loss", "KTO's weight of replies that are wanted.", bounds=(0, 100), methods=("kto",)
    )
    undesirable_weight: float = _setting(
        1.0, "Loss", "KTO's weight of replies that are not wanted.", bounds=(0, 100), methods=("kto",)
    )
    margin: str = _setting(
        "small",
        "Loss",
        "By how much the chosen reply has to win: significantly, better, slightly, negligibly = small 1, 2/3, 1/3, 0; "
        "large 3, 2, 1, 0; custom as written below; file takes each pair's own margin. Unsure and ungraded pairs count "
        "as 0. In DPO it becomes an offset (ODPO).",
        choices=(*MARGIN_PRESETS, "custom", "file"),
        methods=PAIR_METHODS,
        by_method={method: "none" for method in PAIR_METHODS if method != "reward"},
    )
    margin_map: str = _setting(
        "significantly=1, better=0.75, slightly=0.5, negligibly=0",
        "Loss",
        "The numbers of a custom margin, one for each grade; a grade that is not named counts as 0.",
        methods=PAIR_METHODS,
    )
    soft_labels: str = _setting(
        "off",
        "Loss",
        "How sure a label is: always; the share of votes for the chosen reply; that share with one vote added to each "
        "side; or soft_label of the file.",
        choices=("off", "votes", "smoothed votes", "file"),
        methods=SOFT_LABEL_METHODS,
    )
    pair_weights: str = _setting(
        "off",
        "Loss",
        "How much a pair counts: all alike; by its number of votes; by how far they agree; or weight of the file. "
        "Weights are scaled to mean 1.",
        choices=("off", "votes", "agreement", "file"),
    )
    center_rewards: float = _setting(
        0.0,
        "Loss",
        "Weight of a term that keeps rewards near zero; 0.01 is usual.",
        bounds=(0, 10),
        methods=("reward",),
    )
    nll_over: str = _setting(
        "prompt and chosen",
        "Loss",
        "Which tokens the language modelling term of ORPO covers.",
        choices=("prompt and chosen", "chosen"),
        methods=("orpo",),
    )
    max_length: int = _setting(
        1024,
        "Text",
        "Most tokens of prompt and reply together; lowered to the model's limit.",
        bounds=(16, 2**20),
    )
    max_prompt_length: int = _setting(
        0,
        "Text",
        "When a pair is too long, its prompt is cut from the front down to this; 0 means half of the longest pair.",
        bounds=(0, 2**20),
    )
    overlong: str = _setting(
        "truncate",
        "Text",
        "Pairs longer than the limit: cut them, or leave them out. Both are counted in the result.",
        choices=("truncate", "drop"),
        by_method={"reward": "drop"},
    )
    precision: str = _setting(
        "auto",
        "Memory and speed",
        "Arithmetic of the forward pass; weights stay in fp32. auto: bf16 on a GPU, on a CPU where it is measured to "
        "be faster (AVX-512 BF16, AMX).",
        choices=("auto", "fp32", "bf16"),
    )
    layout: str = _setting(
        "auto",
        "Memory and speed",
        "How pairs lie in memory. shared computes the prompt once for both replies, plain once for each; auto shares "
        "where the model allows it. The numbers are the same.",
        choices=("auto", "shared", "plain"),
        methods=PAIR_METHODS,
    )
    packing: bool = _setting(
        False,
        "Memory and speed",
        "Puts several conversations into one row without letting them see each other: no padding. Pays on a GPU with "
        "flex attention; on a CPU layout auto does so anyway.",
    )
    attention: str = _setting(
        "auto",
        "Memory and speed",
        "flex skips what a token may not see instead of computing and masking it: for packed rows on a GPU. auto does "
        "the same on a CPU. sdpa uses PyTorch's own kernels with a mask.",
        choices=("auto", "sdpa", "flex"),
    )
    tokens_per_pass: int = _setting(
        0,
        "Memory and speed",
        "A forward pass of more tokens than this, padding included, is done in parts, so that memory does not grow "
        "with the batch. The numbers are the same. 0 means 2,048 on a CPU and 16,384 on a GPU.",
        bounds=(0, 2**24),
    )
    length_buckets: bool = _setting(
        True, "Memory and speed", "Lets pairs of like length meet in a forward pass, which saves padding."
    )
    lora_r: int = _setting(
        0, "Memory and speed", "Rank of LoRA adapters on all linear layers; 0 trains every weight.", bounds=(0, 1024)
    )
    lora_alpha: int = _setting(
        32, "Memory and speed", "Scale of the adapters; usually twice the rank.", bounds=(1, 4096)
    )
    gradient_checkpointing: str = _setting(
        "auto",
        "Memory and speed",
        "Recompute activations: less memory, about a fifth slower. auto: only where the longest batch would not fit.",
        choices=("auto", "on", "off"),
    )
    logging_steps: int = _setting(5, "Records", "Steps between two points of the curves.", bounds=(1, 10**6))
    eval_steps: int = _setting(
        50, "Records", "Steps between two evaluations; 0 evaluates at the start and the end only.", bounds=(0, 10**6)
    )
    save_steps: int = _setting(
        50, "Records", "Steps between two checkpoints; 0 saves only when stopped and at the end.", bounds=(0, 10**6)
    )
    keep_checkpoints: int = _setting(2, "Records", "How many checkpoints are kept.", bounds=(2, 100))
    tracker: str = _setting(
        "none",
        "Records",
        "Where the curves are sent too. TensorBoard's files stay in the run's folder; W&B and MLflow need their "
        "package and address on the worker.",
        choices=("none", "tensorboard", "wandb", "mlflow"),
    )

    @classmethod
    def from_dict(cls, method: str, values: Mapping[str, Any]) -> TrainingConfig:
        """Checks ``values`` (numbers, or text as a form sends it); empty or missing means the method's default.

        Raises :class:`ConfigErrors` with every problem at once.
        """
        if method not in METHODS:
            raise ConfigErrors([("method", f"must be one of {', '.join(METHODS)}")])
        settings = {setting.name: setting for setting in list_settings(method)}
        errors: list[tuple[str, str]] = []
        checked: dict[str, Any] = {name: setting.default for name, setting in settings.items()}
        for name, value in values.items():
            if name not in settings:
                known = any(item.name == name for item in dataclasses.fields(cls))
                errors.append((name, f"does not apply to {method}" if known else "is no setting"))
            elif value is not None and value != "":
                try:
                    checked[name] = _check_value(settings[name], value)
                except ValueError as error:
                    errors.append((name, str(error)))
        if not errors:
            errors = _check_together(checked)
        if errors:
            raise ConfigErrors(errors)
        return cls(method=method, **checked)

    def to_dict(self) -> dict[str, Any]:
        """The settings that apply to the method, ready for JSON and for :meth:`from_dict`."""
        return {setting.name: getattr(self, setting.name) for setting in list_settings(self.method)}

    @property
    def prompt_limit(self) -> int:
        """Tokens that a prompt keeps at least when its pair is cut."""
        return self.max_prompt_length or self.max_length // 2

    @property
    def reads_single_replies(self) -> bool:
        """Whether records of one reply are data for the method, beside pairs."""
        return self.method in ("sft", "kto")

    def margin_of(self, grade: str | None, own: float = 0.0) -> float:
        """The number that a grade becomes in the loss (``own`` when the file says); 0 for unsure and for no grade."""
        if self.margin == "file":
            return own
        numbers = parse_margin_map(self.margin_map) if self.margin == "custom" else MARGIN_PRESETS[self.margin]
        return numbers.get(grade or "", 0.0)


def parse_margin_map(text: str) -> dict[str, float]:
    """``significantly=1, slightly=0.5`` as numbers by grade; raises ValueError with the reason."""
    numbers: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        grade, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or grade not in GRADES:
            raise ValueError("must be written as significantly=1, better=0.75, slightly=0.5, negligibly=0")
        if grade in numbers:
            raise ValueError(f"names {grade} twice")
        number = float(_parse_number(float, value))
        if abs(number) > LARGEST_MARGIN:
            raise ValueError(f"must be at most {LARGEST_MARGIN:g}")
        numbers[grade] = number
    return numbers


def list_settings(method: str) -> list[Setting]:
    """The settings that apply to ``method``, with its defaults, in the order of the form."""
    settings = []
    for item in dataclasses.fields(TrainingConfig):
        if item.name == "method" or method not in item.metadata["methods"]:
            continue
        minimum, maximum = item.metadata["bounds"]
        default = item.metadata["by_method"].get(method, item.default)
        settings.append(
            Setting(
                name=item.name,
                type=type(default),
                default=default,
                label=name_setting(item.name),
                help=item.metadata["help"],
                group=item.metadata["group"],
                minimum=minimum,
                maximum=maximum,
                choices=item.metadata["choices"],
                methods=item.metadata["methods"],
            )
        )
    return settings


def name_setting(name: str) -> str:
    """``lora_r`` as LoRA r: how a form names it unless it knows better."""
    label = name.replace("_", " ").capitalize()
    for word in ("LoRA", "DPO", "IPO", "ARPO", "NLL"):
        label = label.replace(word.capitalize(), word)
    return label


def _check_value(setting: Setting, value: Any) -> Any:
    if setting.name == "gradient_checkpointing":  # a yes or no in earlier versions
        value = {"true": "on", "false": "off"}.get(str(value).lower(), value)
    if setting.choices:
        if value not in setting.choices:
            raise ValueError(f"must be one of {', '.join(setting.choices)}")
        return value
    if setting.type is bool:
        return _parse_bool(value)
    if setting.type is str:
        parse_margin_map(str(value))
        return str(value).strip()
    number = _parse_number(setting.type, value)
    if setting.minimum is not None and number < setting.minimum:
        raise ValueError(f"must be at least {setting.minimum:g}")
    if setting.maximum is not None and number > setting.maximum:
        raise ValueError(f"must be at most {setting.maximum:g}")
    return number


def _parse_bool(value: Any) -> bool:
    words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError("must be true or false")


def _parse_number(kind: type, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a number") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    if kind is int:
        if number != int(number):
            raise ValueError("must be a whole number")
        return int(number)
    return number


def _check_together(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    errors = []
    if values["max_prompt_length"] >= values["max_length"]:
        errors.append(("max_prompt_length", "must be smaller than max_length, or no room is left for the replies"))
    return errors
