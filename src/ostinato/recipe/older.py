"""Settings as older versions wrote them, in the names of today."""

from collections.abc import Mapping
from typing import Any


def renewed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file in today's names.

    Up to version 0.1 the domain was called a task, the problems with long delays "task", and the kind of
    momentum was a setting beside the recipe that decided between gradient descent and HF.

    Example:
        >>> renewed({"task": "task", "recipe": "SGD+M", "momentum": 0.9, "momentum_kind": "classical"})
        {'domain': 'delays', 'optimizer': 'classical', 'recipe': 'SGD+M', 'momentum': 0.9}
        >>> renewed({"domain": "words", "seed": 1})
        {'domain': 'words', 'seed': 1}
    """
    kept = dict(settings)
    if "task" not in kept and "momentum_kind" not in kept:
        return kept
    found: dict[str, Any] = {}
    if "task" in kept:
        task = kept.pop("task")
        found["domain"] = "delays" if task == "task" else task
    kind = kept.pop("momentum_kind", "nesterov")
    if str(kept.get("recipe", "")).upper().startswith("HF"):
        found["optimizer"] = "hessian-free"
    elif kept.get("momentum"):
        found["optimizer"] = kind
    return found | kept


def renewed_study(content: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a study's file, with settings in today's names.

    A study of an older version could search over the momentum where its trials have none in common.

    Example:
        >>> old = {"task": "music", "recipe": "SGD", "momentum": 0.0, "momentum_kind": "nesterov"}
        >>> renewed_study({"recipe": old, "search": {"momentum": {"low": 0.5, "high": 0.9}}})["recipe"]
        {'domain': 'music', 'recipe': 'SGD', 'momentum': 0.0, 'optimizer': 'nesterov'}
    """
    recipe = content["recipe"]
    found = renewed(recipe)
    searched = "momentum" in content.get("search", {}) and not str(recipe.get("recipe", "")).startswith("HF")
    if searched and "momentum_kind" in recipe:
        found["optimizer"] = recipe["momentum_kind"]
    return {**content, "recipe": found}
