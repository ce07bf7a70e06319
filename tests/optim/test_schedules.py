import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.optim import Constant, ConstantRule, Decision, HalvingRule, SutskeverMomentum, as_schedule

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


def test_numbers_and_functions_are_schedules():
    assert as_schedule(0.1) == Constant(0.1)
    assert as_schedule(math.sqrt) is math.sqrt


def rnnlm(scores, improvement=1.003):
    """The source's loop for a list of scores: after each epoch the alpha, whether it broke, restored."""
    alpha, divide, last, said = 1.0, False, -math.inf, []
    for score in scores:
        restored = score < last
        stop = False
        if score * improvement < last:
            stop, divide = divide, True
        if divide and not stop:
            alpha /= 2
        said.append((alpha, stop, restored))
        if stop:
            break
        last = score
    return said


@given(st.lists(st.floats(-1e6, -1e-3), max_size=12))
def test_halving_does_what_rnnlm_does(scores):
    rule, alpha, said = HalvingRule(), 1.0, []
    for score in scores:
        decision = rule.update(score)
        alpha *= decision.learning_rate_factor
        said.append((alpha, decision.stop, decision.restore))
        if decision.stop:
            break
    assert said == rnnlm(scores)


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
