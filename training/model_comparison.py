"""Models beside each other: what votes say of their answers, what they were measured at, and wherein they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count

from annotate.selectors.counted import select_counted
from models_registry.models import ModelVersion
from models_registry.selectors import list_models
from training.engine.stats import wilson_interval
from training.models import Run

FEWEST, MOST = 2, 6


@dataclass(frozen=True)
class VoteRate:
    """How often the first model's answer was preferred to the second's on the same prompt, as people voted.

    A prompt counts once, its votes share it; a tie, "unsure" and "both bad" count half. Wilson's interval at 95 %.
    """

    prompts: int
    votes: int
    rate: float
    interval: tuple[float, float]

    def turn(self) -> VoteRate:
        low, high = self.interval
        return VoteRate(self.prompts, self.votes, 1 - self.rate, (1 - high, 1 - low))


@dataclass(frozen=True)
class Compared:
    """A model with the run that made it, if one did, and what it is called."""

    model: ModelVersion
    run: Run | None
    aliases: list[str]


@dataclass(frozen=True)
class ModelComparison:
    """``rates[row][column]``: the row's model against the column's; None where nobody compared them."""

    models: list[Compared]
    rates: list[list[VoteRate | None]]

    @property
    def has_votes(self) -> bool:
        return any(rate for row in self.rates for rate in row)


def compare_models(numbers: Sequence[int]) -> ModelComparison:
    """The models of these numbers in their order, each once, at most MOST; unknown ones are left aside."""
    found = {model.pk: model for model in list_models().filter(pk__in=numbers)}
    models = [found[number] for number in dict.fromkeys(numbers) if number in found][:MOST]
    made = Run.objects.filter(model__in=models).select_related("dataset_version__project", "base_model")
    runs = {run.model_id: run for run in made.defer("log_tail")}
    rates = get_vote_rates([model.pk for model in models])
    return ModelComparison(
        models=[Compared(each, runs.get(each.pk), _name_aliases(each)) for each in models],
        rates=[[rates.get((row.pk, column.pk)) for column in models] for row in models],
    )


def get_vote_rates(models: Iterable[int]) -> dict[tuple[int, int], VoteRate]:
    """Both directions of each pair of models between whose answers people chose. One query.

    Of the votes that count in datasets, those on whole answers: an axis asks for one side of them alone.
    """
    chosen = list(models)
    a, b = "comparison__response_a__model", "comparison__response_b__model"
    votes = select_counted().filter(**{f"{a}__in": chosen, f"{b}__in": chosen}, comparison__original=None)
    rows = votes.order_by().values_list(a, b, "comparison__prompt", "winner").annotate(votes=Count("pk"))
    tallies: defaultdict[tuple[int, int], defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(_start))
    for first, second, prompt, winner, count in rows:
        if first == second:
            continue
        share = {"a": 1.0, "b": 0.0}.get(winner, 0.5)
        pair, won = ((first, second), share) if first < second else ((second, first), 1 - share)
        tallies[pair][prompt][0] += won * count
        tallies[pair][prompt][1] += count
    rates: dict[tuple[int, int], VoteRate] = {}
    for (first, second), prompts in tallies.items():
        wins = sum(won / count for won, count in prompts.values())
        number, total = len(prompts), int(sum(count for _won, count in prompts.values()))
        rate = VoteRate(number, total, wins / number, wilson_interval(wins, number))
        rates[first, second], rates[second, first] = rate, rate.turn()
    return rates


def _start() -> list[float]:
    return [0.0, 0.0]


def _name_aliases(model: ModelVersion) -> list[str]:
    return [promotion.alias for promotion in getattr(model, "standing", [])]
