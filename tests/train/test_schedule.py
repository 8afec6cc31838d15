"""Budgets and the learning rate over them."""

import math

import pytest

from lgg_runtime.errors import UsageError
from lgg_train.schedule import Budget, learning_rate


@pytest.mark.parametrize(
    ("progress", "rate"),
    [
        (0.0, 0.0005),  # a hundredth, so that the first step does something
        (0.05, 0.0125),
        (0.1, 0.025),
        (0.2, 0.05),  # the peak, where the cosine begins
        (0.4, 0.05 * (1 + math.sqrt(0.5)) / 2),
        (0.6, 0.025),
        (1.0, 0.0),
        (1.3, 0.0),
    ],
)
def test_warm_up_is_linear_and_then_half_a_cosine_falls_to_zero(progress, rate):
    assert learning_rate(0.05, progress, warm_up=0.2) == pytest.approx(rate, abs=1e-12)


def test_without_warm_up_the_rate_begins_at_its_peak():
    assert learning_rate(0.05, 0.0, warm_up=0.0) == 0.05


def test_the_rate_never_rises_after_the_warm_up():
    rates = [learning_rate(1.0, step / 100, warm_up=0.1) for step in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


def test_a_budget_in_epochs_counts_steps_alone():
    budget = Budget(epochs=4)
    assert budget.progress(0, 5, 999.0) == 0
    assert budget.progress(10, 5, 0.0) == 0.5
    assert budget.progress(20, 5, 0.0) == 1


def test_a_budget_in_epochs_may_be_a_fraction():
    assert Budget(epochs=0.5).progress(3, 12, 0.0) == 0.5


def test_a_budget_in_minutes_counts_seconds_alone():
    budget = Budget(minutes=2)
    assert budget.progress(999, 5, 0.0) == 0
    assert budget.progress(0, 5, 30.0) == 0.25
    assert budget.progress(0, 5, 120.0) == 1


@pytest.mark.parametrize("budget", [Budget(epochs=1e-310), Budget(minutes=1e-310)])
def test_a_budget_of_less_than_a_step_is_spent_after_it(budget):
    assert budget.progress(0, 5, 0.0) == 0
    assert budget.progress(1, 5, 0.1) == 1


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_a_budget_that_never_ends_or_never_begins_is_refused(value):
    for budget in ({"epochs": value}, {"minutes": value}):
        with pytest.raises(UsageError, match="expected one budget above zero"):
            Budget(**budget)
