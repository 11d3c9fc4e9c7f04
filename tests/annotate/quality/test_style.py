"""The style audit: what is counted in a response, and the regression against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from annotate.quality.style import FEATURES, contrast_styles, count_style, estimate_style_effects


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", (0, 0, 0, 0)),
        ("plain", (5, 0, 0, 0)),
        ("- one\n* two\n  3. three\n10) four\n-none\n3.5 is a number", (None, 4, 0, 0)),
        ("**bold** and __bold__ but not *this* nor ** that **\n**\n**", (None, 0, 3, 0)),
        ("# One\n###### Six\n####### Seven\n#none", (None, 0, 0, 2)),
        ("## 제목\n- 하나\n**굵게**", (None, 1, 1, 1)),
    ],
)
def test_what_is_counted(text: str, counts: tuple[int | None, ...]) -> None:
    assert count_style(text) == (len(text), *counts[1:])


def test_a_contrast_is_relative() -> None:
    assert contrast_styles(np.array([[3.0, 0, 0, 1]]), np.array([[1.0, 0, 2, 0]])).tolist() == [[0.4, 0, -2 / 3, 0.5]]


def draw_choices(seed: int = 0) -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(seed)
    contrast = draw.normal(0, [0.3, 0.1, 0.2, 0.4], (600, 4))
    side = draw.choice([-1, 1], 600)
    odds = contrast @ [3.0, 0, -2.0, 0.5] + 0.4 * side
    choice = np.where(draw.random(600) < 1 / (1 + np.exp(-odds)), 1, -1)
    return contrast, choice, side, np.arange(600) // 3


def test_the_regression_equals_statsmodels_with_clusters() -> None:
    contrast, choice, side, cluster = draw_choices()
    scaled = np.column_stack((contrast / np.sqrt((contrast**2).mean(axis=0)), side))
    theirs = sm.Logit((choice > 0).astype(float), scaled).fit(
        disp=0, tol=1e-12, cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    ours = estimate_style_effects(contrast, choice, side, cluster, ridge=0.0)
    found = [*(ours.features[name] for name in FEATURES), ours.side]
    assert [each.value for each in found] == pytest.approx(theirs.params, abs=1e-8)
    errors = [(each.high - each.low) / 2 / 1.959964 for each in found if each.high is not None and each.low is not None]
    assert errors == pytest.approx(theirs.bse * np.sqrt(200 / 199), abs=1e-6)


def test_calling_the_responses_otherwise_changes_nothing() -> None:
    contrast, choice, side, cluster = draw_choices(1)
    assert estimate_style_effects(contrast, choice, side, cluster) == estimate_style_effects(
        -contrast, -choice, -side, cluster
    )


def test_separable_choices_stay_finite_and_features_that_never_differ_are_not_defined() -> None:
    contrast = np.column_stack((np.linspace(-1, 1, 40), np.zeros((40, 3))))
    choice = np.sign(contrast[:, 0]).astype(np.int64)
    effects = estimate_style_effects(contrast, choice, np.zeros(40, dtype=np.int64), np.arange(40))
    assert effects.features["length"].value is not None and 1 < effects.features["length"].value < 20
    assert effects.features["bold"].value is None and effects.side.value is None
    nothing = np.zeros(0, dtype=np.int64)
    assert estimate_style_effects(np.zeros((0, 4)), nothing, nothing, nothing).side.value is None
