"""What is a prompt, and when two prompts are one."""

from __future__ import annotations

from typing import Any

import pytest

from annotate.models import Project, Prompt
from annotate.services.comparisons import ComparisonError, NewResponse, create_comparison
from annotate.services.prompts import PromptError, digest_messages, get_or_create_prompt, get_or_create_prompts

ASK = [{"role": "user", "content": "How long do eggs boil?"}]


def test_equal_dialogues_are_one_prompt(project: Project) -> None:
    first, new = get_or_create_prompt(project=project, messages=ASK)
    again, new_again = get_or_create_prompt(
        project=project, messages=[{"content": ASK[0]["content"], "role": "user", "id": 7}]
    )
    assert (first, new, new_again) == (again, True, False)
    assert again.messages == ASK


def test_digest_is_of_the_canonical_json() -> None:
    # printf '%s' '[{"content":"Grüße","role":"user"}]' | sha256sum
    expected = "0b6db099fdee2211017d5bfdf2ed7b5d53e8a5ae65d5b04078199e7ccb5332e8"
    assert digest_messages([{"role": "user", "content": "Grüße"}]) == expected


def test_many_come_back_in_order(project: Project) -> None:
    known, _new = get_or_create_prompt(project=project, messages=ASK)
    other = [{"role": "user", "content": "And potatoes?"}]
    prompts = get_or_create_prompts(project=project, dialogues=[other, ASK, other])
    assert [prompt.messages for prompt in prompts] == [other, ASK, other]
    assert prompts[1] == known
    assert prompts[0] == prompts[2]
    assert Prompt.objects.count() == 2


def test_more_than_one_batch(project: Project) -> None:
    dialogues = [[{"role": "user", "content": f"Question {number}"}] for number in range(1001)]
    prompts = get_or_create_prompts(project=project, dialogues=dialogues)
    assert [prompt.messages for prompt in prompts] == dialogues
    assert get_or_create_prompts(project=project, dialogues=dialogues) == prompts


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one message"),
        ("Hello", "list"),
        (None, "list"),
        ([{"role": "user"}], "Turn 1"),
        (["Hello"], "Turn 1"),
        ([{"role": "robot", "content": "Hello"}], "robot"),
        ([*ASK, {"role": "assistant", "content": "Six minutes."}], "not the assistant's"),
        ([*ASK, {"role": "system", "content": "Be kind."}, *ASK], "Turn 2"),
        ([{"role": "user", "content": "x" * 64_001}], "at most 64000"),
        ([{"role": "user", "content": "\ud800"}], "surrogate"),
        ([{"role": "user", "content": "a\x00"}], "NUL"),
    ],
)
def test_what_is_no_prompt_is_refused_with_the_turn(project: Project, messages: Any, reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        get_or_create_prompt(project=project, messages=messages)
    assert not Prompt.objects.exists()


def test_comparison_takes_the_projects_number_of_votes(project: Project) -> None:
    project.votes_per_comparison = 3
    prompt, _new = get_or_create_prompt(project=project, messages=ASK)
    comparison = create_comparison(
        project=project, prompt=prompt, response_a=NewResponse("Six."), response_b=NewResponse("Ten.")
    )
    assert (comparison.need, comparison.taken) == (3, 0)
    assert (comparison.response_a.text, comparison.response_b.text) == ("Six.", "Ten.")


def test_equal_responses_and_foreign_prompts_are_no_comparison(project: Project) -> None:
    prompt, _new = get_or_create_prompt(project=project, messages=ASK)
    six, ten = NewResponse("Six."), NewResponse("Ten.")
    with pytest.raises(ComparisonError, match="same text"):
        create_comparison(project=project, prompt=prompt, response_a=six, response_b=six)
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere", created_by=project.created_by)
    with pytest.raises(ComparisonError, match="another project"):
        create_comparison(project=elsewhere, prompt=prompt, response_a=six, response_b=ten)
