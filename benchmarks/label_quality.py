"""Label quality: on labelers of whom the truth is known, and on real votes.

    python -m benchmarks.label_quality simulate                       # prints the tables; a minute
    python -m benchmarks.label_quality gold                           # when the gold test pauses whom; a minute
    python -m benchmarks.label_quality repeats                        # the same of pairs that came again; seconds
    PANDALM_VOTES=testset-v1.jsonl.gz SQUARE_VOTES=response_test_ood_annotations.jsonl.gz \
      python -m benchmarks.label_quality real                         # needs the test packages: krippendorff, scipy

    ... python -m benchmarks.label_quality convert FOLDER              # the same votes as files for import_votes

``simulate`` draws honest, position-biased, careless and adversarial labelers and tells how often they are found, how
often an honest one is accused, and how many pairs come out right by majority and by weights. ``real`` sets alpha,
agreement and the reliability model on the votes of PandaLM's human test set (Apache-2.0) and of SQuARe (MIT; each reply
judged acceptable or not, which the model takes as better or worse than saying nothing) beside independent computations.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from annotate.quality.agreement import measure_agreement, measure_alpha
from annotate.quality.bias import flag_position_bias, measure_position_bias_by_labeler
from annotate.quality.gold import ALPHA, BETS, measure_credit
from annotate.quality.intervals import Z95, Estimate
from annotate.quality.reliability import fit_reliability
from annotate.quality.repeats import Repeats, measure_repeats
from annotate.quality.votes import Floats, Integers, VoteTable

# Name: how many of twenty labelers, θ (log-odds of agreeing with the truth), β (pull of the left side).
KINDS = {"honest": (12, 1.7, 0.0), "biased": (3, 1.0, 1.5), "careless": (3, 0.0, 0.0), "adversarial": (2, -1.7, 0.0)}
ROUNDS = 100


def simulate() -> None:
    print(
        "| pairs | votes a pair | majority right | weighed right | soft label error | biased found | honest flagged |"
        " careless found | adversarial found | honest called unreliable |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for pairs, votes in ((300, 3), (1000, 3), (300, 5), (3000, 1)):
        rounds = [_measure_round(pairs, votes, seed) for seed in range(ROUNDS)]
        means = np.nanmean(np.array(rounds), axis=0)
        print(f"| {pairs:,} | {votes} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


GOLD_LABELERS, GOLD_PAIRS = 2000, 500


def simulate_gold() -> None:
    """Labelers who answer by chance, reversed, or with noise of one width, looked at after each of 500 gold pairs."""
    print("| labelers | mean credit | bar | paused within 500 gold pairs | median of gold pairs until then |")
    print("|---|---|---|---|---|")
    rail = [("a", grade) for grade in _RAIL] + [("", "unsure")] + [("b", grade) for grade in reversed(_RAIL)]
    table = np.array([[measure_credit("three", known, said) for said in rail] for known in rail])
    for bar in (0.6, 0.7, 0.8):
        at_bar = [width for width in np.arange(0.3, 6, 0.002) if (_spread(width) * table).sum(axis=1).mean() >= bar]
        for name, credits in {
            "good (mostly within a step)": _answer_noisily(table, 0.8, GOLD_PAIRS, GOLD_LABELERS),
            "exactly at the bar": _answer_noisily(table, at_bar[-1], GOLD_PAIRS, GOLD_LABELERS),
            "careless (at random)": _answer_noisily(table, np.inf, GOLD_PAIRS, GOLD_LABELERS),
            "adversarial (reversed)": _answer_noisily(table[:, ::-1], 0.8, GOLD_PAIRS, GOLD_LABELERS),
        }.items():
            when = _find_pauses(credits, bar)
            paused = when[when < GOLD_PAIRS]
            median = f"{np.median(paused) + 1:.0f}" if len(paused) else "–"
            print(f"| {name} | {credits.mean():.3f} | {bar} | {len(paused) / len(when):.4f} | {median} |")


_RAIL = ("significantly", "slightly", "negligibly")


def _answer_noisily(table: Floats, width: float, pairs: int, labelers: int) -> Floats:
    """Credits (labelers, pairs): known answers spread over the rail, answers fall off as a discrete normal around."""
    draw = np.random.default_rng(11)
    known = draw.integers(0, 7, (labelers, pairs))
    bounds = np.cumsum(_spread(width), axis=1)[known]
    said = np.minimum((draw.random((labelers, pairs, 1)) > bounds).sum(axis=2), 6)
    return np.asarray(table[known, said])


def _spread(width: float) -> Floats:
    """(7, 7): how probable each answer of the rail is, for each known one."""
    weights = np.exp(-0.5 * ((np.arange(7)[:, None] - np.arange(7)[None, :]) / width) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _find_pauses(credits: Floats, bar: float) -> Integers:
    """The gold pair, from 0, at which each labeler is paused; the number of pairs where never."""
    growth = np.zeros((BETS, len(credits)))
    bets = np.arange(1, BETS + 1)[:, None] / (BETS + 1) / (1 - bar)
    when = np.full(len(credits), credits.shape[1])
    for number in range(credits.shape[1]):
        growth += np.log1p(bets * (bar - credits[:, number]))
        over = np.exp(growth).mean(axis=0) >= 1 / ALPHA
        when[over & (when == credits.shape[1])] = number
    return when


def _measure_round(pairs: int, votes: int, seed: int) -> list[float]:
    """One draw: the shares that ``simulate`` prints."""
    kind = np.repeat(list(KINDS), [count for count, _theta, _beta in KINDS.values()])
    theta, beta = np.array([KINDS[name][1:] for name in kind]).T
    table, truth = draw_votes(theta, beta, pairs, votes, seed)
    fit = fit_reliability(table)
    tally = np.bincount(table.pair, table.decision, table.pairs) * truth
    lead = (fit.posterior - 0.5) * truth
    flags = np.array(flag_position_bias(measure_position_bias_by_labeler(table)))
    below = fit.weight + Z95 * fit.errors[:, 0] < 0  # surely worse than chance
    weak = fit.weight + Z95 * fit.errors[:, 0] < np.median(fit.weight) - 0.5  # surely far below the others
    chosen = np.where(truth > 0, fit.posterior, 1 - fit.posterior)
    sure = np.maximum(fit.posterior, 1 - fit.posterior)
    return [
        (np.sign(tally) / 2 + 0.5).mean(),
        (np.sign(lead) / 2 + 0.5).mean(),
        abs(float((chosen > 0.5).mean() - sure.mean())),
        flags[kind == "biased"].mean(),
        flags[kind == "honest"].mean(),
        weak[kind == "careless"].mean(),
        below[kind == "adversarial"].mean(),
        weak[kind == "honest"].mean(),
    ]


def draw_votes(theta: Floats, beta: Floats, pairs: int, votes: int, seed: int) -> tuple[VoteTable, Integers]:
    """Votes by the model of annotate/quality/reliability.py, and the truth of each pair (1 or -1)."""
    draw = np.random.default_rng(seed)
    truth = draw.choice([-1, 1], pairs)
    pair = np.repeat(np.arange(pairs), votes)
    labeler = np.argsort(draw.random((pairs, len(theta))), axis=1)[:, :votes].ravel()
    side = draw.choice([-1, 1], len(pair))
    chance = 1 / (1 + np.exp(-(theta[labeler] * truth[pair] + beta[labeler] * side)))
    return VoteTable.build(pair, labeler, np.where(draw.random(len(pair)) < chance, 1, -1), side), truth


def simulate_repeats() -> None:
    """Labelers who see each pair twice, sides swapped: what is expected of them, and what the estimates say."""
    print("| θ | β | repeats | same answer: expected | estimated | pull: true β | estimated | interval holds β |")
    print("|---|---|---|---|---|---|---|---|")
    for theta, beta in ((3.0, 0.0), (1.7, 0.0), (1.7, 0.5), (1.0, 1.5), (0.0, 0.0)):
        for repeats in (50, 200):
            found = [_draw_repeats(theta, beta, repeats, seed) for seed in range(ROUNDS)]
            left, right = 1 / (1 + np.exp(-(theta + beta))), 1 / (1 + np.exp(-(theta - beta)))
            expected = left * right + (1 - left) * (1 - right)
            same = np.mean([each.same.value for each in found])
            pulls = [each.pull for each in found if each.pull.value is not None]
            pull = np.median([each.value for each in pulls if each.value is not None])
            holds = np.mean([(each.low or 0) <= beta <= (each.high or 0) for each in pulls])
            print(
                f"| {theta:g} | {beta:g} | {repeats} | {expected:.3f} | {same:.3f} |"
                f" {beta:g} | {pull:.2f} | {holds:.2f} |"
            )


def _draw_repeats(theta: float, beta: float, repeats: int, seed: int) -> Repeats:
    draw = np.random.default_rng(seed)
    truth, side = np.tile(draw.choice([-1, 1], repeats), 2), draw.choice([-1, 1], repeats)
    sides = np.concatenate([side, -side])
    chance = 1 / (1 + np.exp(-(theta * truth + beta * sides)))
    levels = np.where(draw.random(2 * repeats) < chance, 1, -1)
    return measure_repeats(VoteTable.build(np.tile(np.arange(repeats), 2), np.zeros_like(levels), levels, sides))


# -- Real votes -------------------------------------------------------------------------------------------------------


def compare_real() -> None:
    print(
        "| votes of | comparisons | votes | labelers | agreement | alpha | krippendorff | reliability, least to most |"
        " log posterior | SciPy |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, variable, read in (("PandaLM", "PANDALM_VOTES", _read_pandalm), ("SQuARe", "SQUARE_VOTES", _read_square)):
        if variable in os.environ:
            rows = np.array(list(read(os.environ[variable])), dtype=np.int64).T
            print(_describe_real(name, VoteTable.build(rows[0], rows[1], rows[2], rows[3])))


def _describe_real(name: str, table: VoteTable) -> str:
    import krippendorff

    counts = table.count_decisions()
    alpha, fit = measure_alpha(counts), fit_reliability(table)
    theirs = krippendorff.alpha(value_counts=counts, value_domain=np.arange(3), level_of_measurement="nominal")
    eta = 1 / (1 + np.exp(-fit.weight))
    cells = [
        name,
        f"{table.pairs:,}",
        f"{table.votes:,}",
        str(table.labelers),
        _describe(measure_agreement(table)),
        _describe(alpha),
        f"{theirs:.6f}",
        f"{eta.min():.3f} to {eta.max():.3f}",
        f"{fit.path[-1]:.6f}",
        f"{_find_with_scipy(table):.6f}",
    ]
    return f"| {' | '.join(cells)} |"


def _find_with_scipy(table: VoteTable) -> float:
    """The highest log posterior that SciPy finds, from the equation alone."""
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    used = table.decision != 0
    pair, labeler, vote, side = table.pair[used], table.labeler[used], table.decision[used], table.side[used]

    def find_loss(flat: Floats) -> tuple[float, Floats]:
        theta, beta = flat.reshape(2, -1)
        logits = [vote * (theta[labeler] * truth + beta[labeler] * side) for truth in (1, -1)]
        logs = [np.log(0.5) + np.bincount(pair, log_expit(each), table.pairs) for each in logits]
        total = np.logaddexp(*logs)
        parts = [np.exp(log - total)[pair] * vote * expit(-each) for log, each in zip(logs, logits, strict=True)]
        slopes = [parts[0] - parts[1], (parts[0] + parts[1]) * side]
        gradient = np.concatenate([np.bincount(labeler, slope, table.labelers) for slope in slopes])
        shift = np.concatenate((theta - np.log(4), beta / 0.25))
        loss = ((theta - np.log(4)) ** 2).sum() / 2 + (beta**2).sum() / 0.5 - total.sum()
        # A pair without a vote for a side adds log 1/2 twice, which is 0.
        return float(loss), shift - gradient

    start = np.concatenate((np.full(table.labelers, np.log(4)), np.zeros(table.labelers)))
    best = minimize(
        find_loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    )
    return -float(best.fun)


def _describe(estimate: Estimate) -> str:
    return f"{estimate.value:.6f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _read_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from enumerate(map(json.loads, file))


def _read_pandalm(path: str) -> Iterator[tuple[int, int, int, int]]:
    """Three annotators' slots; the order in which they saw the responses is not recorded."""
    for number, line in _read_lines(path):
        for slot in (1, 2, 3):
            yield number, slot, {0: 0, 1: 1, 2: -1}[line[f"annotator{slot}"]], 0


def _read_square(path: str) -> Iterator[tuple[int, int, int, int]]:
    """Side 1 throughout: β is then a worker's leniency, and the model that of Dawid and Skene with two classes."""
    for number, line in _read_lines(path):
        for vote in line["raw_annotations"]["Q2: Acceptable or Non-acceptable"]:
            yield number, vote["workerID"], 1 if vote["acceptable?"] == "acceptable" else -1, 1


# -- The same votes for the product -----------------------------------------------------------------------------------


def convert(folder: Path) -> None:
    """Writes pandalm.jsonl and square.jsonl for `manage.py import_votes`."""
    for name, variable, make in (
        ("pandalm", "PANDALM_VOTES", _convert_pandalm),
        ("square", "SQUARE_VOTES", _convert_square),
    ):
        if variable in os.environ:
            made = [make(line) for _number, line in _read_lines(os.environ[variable])]
            kept = [
                line for line in made if all(map(str.strip, line["responses"])) and len(set(line["responses"])) == 2
            ]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
            print(f"{name}: {len(kept)} pairs; {len(made) - len(kept)} with an empty or the same response left out")


def _convert_pandalm(line: dict[str, Any]) -> dict[str, Any]:
    prompt = "\n\n".join(part for part in (line["instruction"], line["input"]) if part.strip())
    winners = {0: None, 1: "a", 2: "b"}
    votes = [{"worker": f"pandalm-{slot}", "winner": winners[line[f"annotator{slot}"]]} for slot in (1, 2, 3)]
    responses = [str(line["response1"]), str(line["response2"])]
    return {"id": str(line["idx"]), "prompt": prompt, "responses": responses, "votes": votes}


def _convert_square(line: dict[str, Any]) -> dict[str, Any]:
    said = line["raw_annotations"]["Q2: Acceptable or Non-acceptable"]
    votes = [
        {"worker": f"square-{vote['workerID']}", "winner": "a" if vote["acceptable?"] == "acceptable" else "b"}
        for vote in said
    ]
    return {"prompt": line["question"], "responses": [line["response"], "(답하지 않음)"], "votes": votes}


if __name__ == "__main__":
    study = sys.argv[1] if len(sys.argv) > 1 else "simulate"
    if study == "convert":
        convert(Path(sys.argv[2]))
    else:
        studies = {"simulate": simulate, "gold": simulate_gold, "repeats": simulate_repeats, "real": compare_real}
        studies[study]()
