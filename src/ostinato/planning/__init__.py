"""What a training run would be: its settings, its data, and what it would take, before it is begun."""

from ostinato.planning.plan import Plan, make_plan

__all__ = ["Plan", "make_plan"]
