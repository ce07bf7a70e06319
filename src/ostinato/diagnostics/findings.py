"""What measurements mean: causes of failure in the order in which they act, and what to do about each.

An alarm is for what by itself keeps a network from learning; a note says what is worth knowing. The first
sentence of a diagnosis is that of the first alarm. A cause comes before what follows from it: units that are
saturated from the start, states that grow, gradients that explode for want of clipping, units that fell
silent or became saturated, gradients that vanish before the lag that the problem asks for.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ostinato.diagnostics.broken import came_not_finite, detached, given_not_finite, not_transformed
from ostinato.diagnostics.finding import Finding
from ostinato.errors import argument
from ostinato.nn.kernels.nonlinearities import parse

# A share that is most of all units.
MOST = 0.5
# A bounded state levels off; one that grows in a straight line doubles over the second half of a run.
GROWS = 1.5
# A step so many times as long as the usual one leaves the region where the gradient describes the loss.
BURST = 10.0
# A penalty whose gradient is this share of the loss's decides with it where units go.
STRONG = 0.1

_UNBOUNDED = ("relu", "identity", "softplus", "elu", "leaky_relu", "power")


def findings(record: Mapping[str, Any]) -> list[Finding]:
    """What a diagnosis's record (`Diagnosis.record`) means, alarms first.

    Example:
        >>> found = findings({"units": {"layer 1": {"silent": 0.9, "saturated": None}}})
        >>> found[0].cause, found[0].alarm
        ('silent units', True)
    """
    made = [each for rule in RULES for each in rule(record)]
    if _about(record).get("solved"):  # what happened on the way did not keep it from that
        made = [replace(each, alarm=False) for each in made]
    return [each for each in made if each.alarm] + [each for each in made if not each.alarm]


def _about(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of the training: settings, and what happened."""
    found: Mapping[str, Any] = record.get("training") or {}
    return found


def _shares(record: Mapping[str, Any], name: str, place: str = "units") -> float | None:
    """The mean over layers of a share of units."""
    values = [layer.get(name) for layer in (record.get(place) or {}).values()]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _saturated_at_first(record: Mapping[str, Any]) -> Iterator[Finding]:
    at_first = _shares(record, "saturated", "units_at_first")
    if at_first is None or at_first <= MOST:
        return
    now = _shares(record, "saturated")
    still = "" if now is None else f", and {now:.0%} now"
    yield Finding(
        "saturated units",
        True,
        f"units are saturated from the start: {at_first:.0%} of their slopes are near zero at the initial "
        f"weights{still}, so that next to no gradient passes through them",
        f"make the initial weights smaller: {argument('spectral_radius')} near 1, or another "
        f"{argument('initialization')}",
    )


def _growing(record: Mapping[str, Any]) -> Iterator[Finding]:
    states = record.get("states") or {}
    if not _is_unbounded(record):
        return
    kind = _about(record).get("nonlinearity", "units")
    carried, segment = states.get("carried_growth"), states.get("growth")
    or_clip = "" if _about(record).get("clipped") else f" or clip ({argument('clip')})"
    remedy = (
        f"lower {argument('learning_rate')}{or_clip}, hold the recurrent weights back "
        f"({argument('l2')}), begin with smaller ones ({argument('initialization')}), or use tanh"
    )
    trouble = _about(record).get("trouble") or []
    broken = [each for each in trouble if each.get("cause") == "state" or (each.get("growth") or 0) > GROWS]
    if broken:
        over = "from segment to segment" if states.get("carries") else "over a segment"
        yield Finding(
            "carried state grows" if states.get("carries") else "states grow",
            True,
            f"{'the carried state grows' if states.get('carries') else 'states grow'} without bound {over}, "
            f"which {kind} units allow: {_broke(broken[0])}",
            remedy,
        )
    elif (record.get("not_finite") or {}).get("what") in ("input", "weights", "first state"):
        return  # they are not finite for another reason
    elif states.get("carries") and carried is not None and not carried <= GROWS:
        first, last = states["carried"][0], states["carried"][-1]
        yield Finding(
            "carried state grows",
            True,
            f"the carried state grows from segment to segment: the units' root mean square goes from "
            f"{_figure(first)} to {_figure(last)} over {len(states['carried'])} segments, and {kind} units "
            "set no bound to it",
            remedy,
        )
    elif segment is not None and not segment <= GROWS:
        norms = states["norms"]
        yield Finding(
            "states grow",
            True,
            f"the states of the {kind} units grow without bound over a segment: their root mean square goes "
            f"from {_figure(norms[0])} after the first step to {_figure(norms[-1])} after {len(norms)}, "
            f"and where the segment is repeated {_figure(segment)} times the most of the first half",
            remedy,
        )


def _broke(trouble: Mapping[str, Any]) -> str:
    """How states failed where training first went wrong."""
    if trouble.get("cause") == "state":
        return str(trouble["place"])
    return f"where {trouble['what']} they grew to {_figure(trouble['growth'])} times the first half's"


def _is_unbounded(record: Mapping[str, Any]) -> bool:
    kind = _about(record).get("nonlinearity")
    if kind is None:
        return any(layer.get("bounded") is False for layer in (record.get("units") or {}).values())
    return parse(str(kind))[0] in _UNBOUNDED


def _exploding(record: Mapping[str, Any]) -> Iterator[Finding]:
    norms, about = record.get("gradient_norms") or {}, _about(record)
    median, most = norms.get("median"), norms.get("largest")
    seen, usual = about.get("largest_norm"), about.get("median_norm")
    trouble = about.get("trouble") or []
    if about.get("clipped"):
        return
    ratio = max(
        (top / middle for top, middle in ((most, median), (seen, usual)) if top and middle), default=0.0
    )
    broken = bool(norms.get("non_finite")) or any(each["why"] in HARM for each in trouble)
    if not broken and ratio <= BURST:
        return
    threshold = norms.get("threshold") or usual
    clip = f"{_figure(threshold)}" if threshold else "auto"
    parts = []
    if ratio > 1:
        parts.append(f"norms reach {_figure(ratio)} times their median")
    if broken and trouble:
        parts.append(trouble[0]["what"])
    elif broken:
        parts.append(f"{norms.get('non_finite')} of {norms.get('count')} are not finite")
    yield Finding(
        "exploding gradients",
        True,
        f"gradients explode, and nothing clips them: {'; '.join(parts)}",
        f"clip them: {argument('clip')} {clip} (the average norm over a pass, the paper's rule), and lower "
        f"{argument('learning_rate')} from {about.get('learning_rate', 'what it is')}",
    )


# What a recorder calls a failure of a step.
HARM = ("loss not finite", "gradient not finite", "loss jumped", "loss diverged")


def _silent(record: Mapping[str, Any]) -> Iterator[Finding]:
    share = _shares(record, "silent")
    if share is None or share <= MOST:
        return
    l1 = _about(record).get("l1") or 0.0
    push, pull = record.get("l1_gradient"), record.get("loss_gradient")
    if l1 > 0 and push and (not pull or push > STRONG * pull):
        times = f"its gradient at the units is {_figure(push / pull)} times that of the loss at first"
        why = f"; the L1 penalty of {l1:g} is too strong ({times if pull else 'the loss has none'})"
        advice = f"divide {argument('l1')} by 10 or more and start anew: a silent unit gets no gradient"
    else:
        why = ", so that no gradient reaches their weights"
        advice = (
            f"lower {argument('learning_rate')} and clip ({argument('clip')}) so that no step throws units "
            "off, and start anew: a silent unit gets no gradient"
        )
    yield Finding("silent units", True, f"{share:.0%} of the units are silent at every step{why}", advice)


def _saturated(record: Mapping[str, Any]) -> Iterator[Finding]:
    share, at_first = _shares(record, "saturated"), _shares(record, "saturated", "units_at_first")
    if share is None or (at_first is not None and at_first > MOST):
        return
    if share > MOST:
        yield Finding(
            "saturated units",
            not _about(record).get("learns", False),
            f"units have become saturated: {share:.0%} of their slopes are near zero, so that next to no "
            "gradient passes through them",
            f"lower {argument('learning_rate')}, or hold the weights back ({argument('l2')})",
        )


def _vanishing(record: Mapping[str, Any]) -> Iterator[Finding]:
    lags, about = record.get("gradient_over_lag") or {}, _about(record)
    horizon, needed = lags.get("horizon"), about.get("needed_lag")
    if horizon is None:
        left = [x for x in (lags.get("relative_norm") or {}).get("median", []) if x is not None]
        if len(left) > 1:
            yield Finding(
                "memory horizon",
                False,
                f"after {_steps(len(left) - 1)}, the most that were measured, {_percent(left[-1])} of the "
                "gradient of a loss is left",
                "the memory horizon, where 1 % is left, lies beyond",
            )
        return
    slow = _slow(record)
    if needed is not None and horizon < needed and not about.get("solved"):
        yield Finding(
            "vanishing gradients",
            True,
            f"gradients vanish: after {horizon:.0f} steps 1 % of them is left, and the problem asks for "
            f"{needed}",
            f"give the network a longer memory: {argument('initialization')} echo-state with "
            f"{argument('spectral_radius')} 1.1, or slow units ({argument('leak_fraction')} 0.5, "
            f"{argument('leak_high')} {1 - 1 / needed:.3g}), which any cell may have; gradients from so far "
            f"are small, and {argument('optimizer')} adam makes longer steps of them{slow}",
        )
        return
    yield Finding(
        "memory horizon",
        False,
        f"the gradient of a loss is at 1 % after {horizon:.1f} steps: what lies further back is hardly "
        "learned from",
        "for more, slow units, a gated cell, or an initialization nearer to 1" + slow,
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if share < 10 else f"{share:,.0f} times"


def _slow(record: Mapping[str, Any]) -> str:
    """What the slowest units would carry, where there are slow ones."""
    leak, horizon = record.get("largest_leak"), (record.get("gradient_over_lag") or {}).get("horizon")
    if not leak or leak >= 1 or horizon is None:
        return ""
    steps = math.log(0.01) / math.log(leak)
    return f"; units of leak {leak:.3g} carry a gradient over {steps:.0f} steps" if steps > horizon else ""


def _lag_explodes(record: Mapping[str, Any]) -> Iterator[Finding]:
    lags, about = record.get("gradient_over_lag") or {}, _about(record)
    growth = lags.get("growth_per_step")
    ratio = max(lags.get("relative_norm", {}).get("median") or [0.0])
    if growth is None or not growth > 1 or ratio <= BURST:
        return
    threshold = (record.get("gradient_norms") or {}).get("threshold")
    clip = f" at {_figure(threshold)}" if threshold else ""
    done = "it is clipped" if about.get("clipped") else f"clip{clip}"
    yield Finding(
        "gradient grows over the lag",
        False,
        f"the gradient grows by {growth - 1:.1%} a step on its way back, to {_figure(ratio)} times",
        done,
    )


def _norms(record: Mapping[str, Any]) -> Iterator[Finding]:
    norms = record.get("gradient_norms") or {}
    if not norms.get("threshold"):
        return
    yield Finding(
        "gradient norms",
        False,
        f"gradient norms: median {_figure(norms['median'])}, 90 % below {_figure(norms['p90'])}, largest "
        f"{_figure(norms['largest'])}",
        f"the paper's rule clips at {_figure(norms['threshold'])}, which {norms['beyond']:.0%} exceed",
    )


def _long_terms(record: Mapping[str, Any]) -> Iterator[Finding]:
    spans = record.get("spans") or []
    if len(spans) < 2:
        return
    near = [span for span in spans if span["last_lag"] < 8]
    share = sum(span["share"] for span in near)
    yield Finding(
        "short and long terms",
        False,
        f"{share:.0%} of the recurrent part's gradient comes from lags below 8",
        "the long terms are the rest; where they are small, the short ones decide what is learned",
    )


def _products(record: Mapping[str, Any]) -> Iterator[Finding]:
    products = record.get("products") or {}
    if not products.get("lags"):
        return
    lag, value = products["lags"][-1], products["largest"][-1]
    rate = value ** (1 / lag) if value and value > 0 else 0.0
    yield Finding(
        "Jacobian products",
        False,
        f"over {_steps(lag)} the largest singular value of the Jacobians' product is {_figure(value)}, "
        f"{rate:.3g} a step",
        _directions(products["singular_values"][-1]),
    )


def _directions(values: list[float]) -> str:
    """How many directions are carried, as far as they were looked at."""
    count = sum(value >= 0.01 for value in values)
    if count == 0:
        return "no gradient is carried that far"
    least = "at least " if count == len(values) else ""
    return f"{least}{count} of the directions that were looked at ({len(values)}) keep 1 % or more"


def _gates(record: Mapping[str, Any]) -> str:
    """How often gates are shut or open; "" for a cell without gates."""
    layers = list(record["units"].values())
    told = []
    for gate in layers[0].get("gates") or ():  # records of before have none
        ends = {
            end: sum(layer["gates"][gate][end] for layer in layers) / len(layers) for end in ("shut", "open")
        }
        told += [f"{gate} gates {end} at {share:.0%}" for end, share in ends.items() if share >= 0.005]
    if not layers[0].get("gates"):
        return ""
    return ", " + (", ".join(told) + " of steps" if told else "no gate is shut or open")


def _units(record: Mapping[str, Any]) -> Iterator[Finding]:
    silent, saturated = _shares(record, "silent"), _shares(record, "saturated")
    active = _shares(record, "active")
    if silent is None or active is None:
        return
    more = "" if saturated is None else f", {saturated:.0%} of slopes are near zero"
    more += _gates(record)
    yield Finding(
        "units",
        False,
        f"{silent:.0%} of units are silent, {active:.0%} are active at a step{more}",
        "nothing to do" if max(silent, saturated or 0.0) <= MOST else "see above",
    )


def _shape(record: Mapping[str, Any]) -> Iterator[Finding]:
    shape = record.get("gradient_shape")
    if not shape:
        return
    alike = shape["symmetry"] > max(MOST, 3 * shape["chance"])
    yield Finding(
        "gradients of units",
        False,
        f"gradients at units: {shape['zero']:.0%} are exactly zero, sparsity {shape['sparsity']:.2f}, "
        f"symmetry {shape['symmetry']:.2f} (independent ones: {shape['chance']:.2f})",
        "units are told the same, and stay alike; rectifiers make gradients sparser and break this"
        if alike
        else "units are told different things",
    )


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _figure(value: float | None) -> str:
    if value is None or value != value:
        return "no finite value"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


RULES: tuple[Callable[[Mapping[str, Any]], Iterator[Finding]], ...] = (
    given_not_finite,
    detached,
    _saturated_at_first,
    _growing,
    _exploding,
    came_not_finite,
    _silent,
    _saturated,
    _vanishing,
    _lag_explodes,
    _norms,
    _long_terms,
    _products,
    not_transformed,
    _units,
    _shape,
)
