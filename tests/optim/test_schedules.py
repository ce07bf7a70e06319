import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.optim import (
    ConstantRule,
    Cosine,
    Decision,
    HalvingRule,
    OneCycle,
    SutskeverMomentum,
    learning_rate_schedule,
)
from ostinato.optim.schedules import LEARNING_RATE_SCHEDULES

scores = st.lists(st.floats(-1e6, 0) | st.just(math.nan) | st.just(-math.inf), max_size=12)


def test_sutskever_is_the_printed_formula():
    schedule = SutskeverMomentum(0.99)
    for step in (*range(0, 3000, 7), 249, 250, 10**6):
        printed = min(1 - 2 ** (-1 - math.log2(math.floor(step / 250) + 1)), 0.99)
        assert schedule(step) == pytest.approx(printed, rel=1e-15)


@given(st.floats(0, 0.999), st.integers(0, 10**7))
def test_sutskever_never_falls_and_never_passes_its_maximum(maximum, step):
    schedule = SutskeverMomentum(maximum)
    assert 0 <= schedule(step) <= schedule(step + 1) <= maximum


@pytest.mark.parametrize(("maximum", "stage"), [(1.0, 250), (-0.1, 250), (math.nan, 250), (0.9, 0)])
def test_sutskever_refuses_what_it_cannot_use(maximum, stage):
    with pytest.raises(UserError, match="expected"):
        SutskeverMomentum(maximum, stage)


def rnnlm(scores, improvement=1.003):
    """The source's loop for a list of scores: after each epoch the alpha, whether it broke, restored."""
    alpha, divide, last, decisions = 1.0, False, -math.inf, []
    for score in scores:
        restored = score < last
        stop = False
        if score * improvement < last:
            stop, divide = divide, True
        if divide and not stop:
            alpha /= 2
        decisions.append((alpha, stop, restored))
        if stop:
            break
        last = score
    return decisions


@given(st.lists(st.floats(-1e6, -1e-3), max_size=12))
def test_halving_does_what_rnnlm_does(scores):
    rule, alpha, decisions = HalvingRule(), 1.0, []
    for score in scores:
        decision = rule.update(score)
        alpha *= decision.learning_rate_factor
        decisions.append((alpha, decision.stop, decision.restore))
        if decision.stop:
            break
    assert decisions == rnnlm(scores)


def test_the_factor_is_of_the_negative_log_likelihood():
    enough, too_little = -1000 / 1.0031, -1000 / 1.0029
    for score, slow in ((enough, False), (too_little, True)):
        rule = HalvingRule()
        rule.update(-1000.0)
        assert rule.update(score).learning_rate_factor == (0.5 if slow else 1.0)


@given(scores, scores)
def test_a_rule_goes_on_from_its_saved_state(before, after):
    rule = HalvingRule()
    for score in before:
        rule.update(score)
    resumed = HalvingRule()
    resumed.load_state_dict(json.loads(json.dumps(rule.state_dict(), allow_nan=False)))
    assert [rule.update(s) for s in after] == [resumed.update(s) for s in after]


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_score_that_is_no_number_is_taken_back(bad):
    rule = HalvingRule()
    rule.update(-10.0)
    assert rule.update(bad) == Decision(0.5, stop=False, restore=True)
    assert rule.update(-9.0) == Decision(0.5, stop=False, restore=False)
    assert rule.update(bad) == Decision(1.0, stop=True, restore=True)


def test_halving_refuses_what_it_cannot_judge():
    with pytest.raises(UserError, match=r"improvement factor of at least 1, found 0\.9"):
        HalvingRule(0.9)
    with pytest.raises(UserError, match="at most 0"):
        HalvingRule().update(0.5)


@given(scores)
def test_the_constant_rule_changes_nothing(scores):
    rule = ConstantRule()
    rule.load_state_dict(ConstantRule().state_dict())
    assert all(rule.update(score) == Decision(1.0, stop=False, restore=False) for score in scores)


@pytest.mark.parametrize(("total", "rise"), [(20, 0.3), (11, 0.5), (100, 0.1)])
def test_one_cycle_is_the_rate_of_torchs_scheduler(total, rise):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.7, total_steps=total, pct_start=rise, cycle_momentum=False
    )
    schedule = OneCycle(total, rise)
    for k in range(total):
        assert 0.7 * schedule(k) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if k + 1 < total:
            scheduler.step()
    assert schedule(total) == schedule(10 * total) == schedule.last


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_the_rate_of_torchs_scheduler(final):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=final)
    for k in range(51):
        assert Cosine(50, final=final)(k) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()
    assert Cosine(50, final=final)(1000) == final


def test_a_warm_up_rises_by_equal_steps_to_the_full_rate():
    schedule = Cosine(total=10, warmup=4)
    assert [schedule(k) for k in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert schedule(7) == pytest.approx(0.5)
    assert schedule(10) == 0


@pytest.mark.parametrize("name", LEARNING_RATE_SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 3, 1000])
def test_every_named_schedule_is_a_factor(name, total):
    schedule = learning_rate_schedule(name, total)
    factors = [schedule(k) for k in range(total + 2)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors[:-2]) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cosine(0),
        lambda: Cosine(5, warmup=5),
        lambda: Cosine(5, warmup=-1),
        lambda: Cosine(5, final=1.5),
        lambda: OneCycle(0),
        lambda: OneCycle(5, rise=1.0),
        lambda: OneCycle(5, first=-0.1),
        lambda: learning_rate_schedule("cosin", 5),
    ],
)
def test_rate_schedules_refuse_what_they_cannot_use(make):
    with pytest.raises(UserError, match=r"expected|did you mean cosine"):
        make()
