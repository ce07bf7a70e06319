"""A report: first a data object, then one HTML page that needs nothing but itself."""

import base64
import datetime
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.domains.sample import Sample
from ostinato.errors import needs
from ostinato.report.charts import Chart, gradient_norms, hessian_free, learning_curves, looks_of
from ostinato.report.diagnosis_charts import diagnosis_charts
from ostinato.report.piano_roll import piano_roll
from ostinato.report.records import RunRecord, StudyRecord
from ostinato.report.study_charts import study_charts
from ostinato.report.tables import Table, chosen_summary, epochs_table, facts, scores_table, trials_table


@dataclass(frozen=True)
class Group:
    """Runs on the same data, compared with each other.

    Arguments:
        title: the data's name, and what is modelled.
        table: scores beside baselines and paper; None while no run is scored.
        charts: learning curves, gradient norms, Hessian-free updates.
        samples: what the models made.
        without: runs that have no sample, where others have.
    """

    title: str
    table: Table | None
    charts: list[Chart]
    samples: list[Sample]
    without: list[str]


@dataclass(frozen=True)
class Detail:
    """Everything else about a run."""

    run: RunRecord
    facts: list[tuple[str, str]]
    epochs: Table
    commands: list[tuple[str, str]]


@dataclass(frozen=True)
class Search:
    """A study with its chosen trial in words, its charts and trials."""

    study: StudyRecord
    chosen: str
    charts: list[Chart]
    trials: Table
    commands: list[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """All that the page shows, in its order."""

    title: str
    made: str
    command: str
    version: str
    groups: list[Group]
    searches: list[Search] = field(default_factory=list)
    details: list[Detail] = field(default_factory=list)

    @property
    def charts(self) -> list[Chart]:
        """Every chart of the page."""
        own = [*(search.charts for search in self.searches), *(group.charts for group in self.groups)]
        return [chart for charts in own for chart in charts]


def compose(
    runs: Sequence[RunRecord],
    studies: Sequence[StudyRecord] = (),
    samples: Sequence[Sample] = (),
    *,
    command: str = "",
    version: str = "",
) -> Report:
    """The report on these runs and studies.

    Args:
        runs: in the order they are shown.
        studies: searches; their chosen runs are among `runs`.
        samples: of any of the runs, by the run's name.
        command: what makes this report again.
        version: of the program.
    """
    together: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        together.setdefault((run.domain, run.data_name), []).append(run)
    groups = [_group(f"data{i}", own, samples) for i, own in enumerate(together.values())]
    return Report(
        title=_title(runs, studies),
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        version=version,
        groups=groups,
        searches=[_search(f"study{i}", study) for i, study in enumerate(studies)],
        details=[Detail(run, facts(run), epochs_table(run), commands(run)) for run in runs],
    )


def render(report: Report) -> str:
    """The report as one HTML page: style, program, charts, sound and pictures are all in it."""
    with needs("report"):
        import jinja2
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs

    loader = jinja2.PackageLoader("ostinato.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.globals |= {"piano_roll": lambda sample: Markup(piano_roll(sample)), "sound": sound}
    files = resources.files("ostinato.report") / "templates"
    specifications = [{"id": chart.key, **chart.figure} for chart in report.charts]
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup((files / "report.css").read_text(encoding="utf-8")),
        script=Markup((files / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(_harmless(get_plotlyjs())) if specifications else "",
        charts=Markup(embedded(specifications)),
    )


def embedded(value: Any) -> str:
    r"""JSON that can stand inside a script element, whatever text it holds.

    Example:
        >>> embedded({"name": "</script><b>&"})
        '{"name": "\\u003c/script\\u003e\\u003cb\\u003e\\u0026"}'
    """
    text = json.dumps(_finite(value), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def sound(sample: Sample) -> str:
    """A sample's sound as a data: address."""
    return "data:audio/wav;base64," + base64.b64encode(sample.wav).decode()


def commands(run: RunRecord) -> list[tuple[str, str]]:
    """What can be done with a run, and how."""
    folder = shlex.quote(str(run.folder))
    found = [
        ("Train the same again", f"ostinato train --config {shlex.quote(str(run.folder / 'config.toml'))}"),
        ("Go on with this run", f"ostinato train --resume {folder}"),
        ("Score it", f"ostinato evaluate {folder}"),
    ]
    if options := DOMAINS[run.domain].generate:
        found.append(("Let it generate", f"ostinato generate {folder} {options} --seed 0"))
    return found


def _title(runs: Sequence[RunRecord], studies: Sequence[StudyRecord]) -> str:
    """The one thing that the page is about, or what there is of each kind."""
    own = [run for run in runs if all(run is not study.run for study in studies)]
    names = [*(study.name for study in studies), *(run.name for run in own)]
    if len(names) == 1:
        return names[0]
    counts = ((len(studies), "search", "searches"), (len(own), "run", "runs"))
    title = " and ".join(f"{n} {one if n == 1 else many}" for n, one, many in counts if n)
    data = {run.data_title for run in runs}
    return f"{title} on {data.pop()}" if len(data) == 1 else title


def _group(key: str, runs: list[RunRecord], samples: Sequence[Sample]) -> Group:
    watched: dict[str, list[RunRecord]] = {}
    for run in runs:
        watched.setdefault(run.watched, []).append(run)
    looks = looks_of(runs)
    charts: list[Chart | None] = [
        learning_curves(own, f"{key}-{name.replace('_', '-')}", looks) for name, own in watched.items()
    ]
    charts += [
        gradient_norms(runs, f"{key}-gradients", looks),
        hessian_free(runs, f"{key}-hessian-free", looks),
    ]
    charts += diagnosis_charts(runs, f"{key}-diagnosis", looks)
    own_samples = [sample for sample in samples if sample.run in looks]
    return Group(
        title=runs[0].data_title,
        table=scores_table(runs),
        charts=[chart for chart in charts if chart is not None],
        samples=own_samples,
        without=[name for name in looks if all(sample.run != name for sample in own_samples)],
    )


def _search(key: str, study: StudyRecord) -> Search:
    # an interrupted search goes on from what its own file says
    again = [("Report on it again", f"ostinato report {shlex.quote(str(study.folder))} --out report.html")]
    return Search(study, chosen_summary(study), study_charts(study, key), trials_table(study), again)


def _harmless(script: str) -> str:
    """A program that can stand inside a script element: no text in it ends the element."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _finite(value: Any) -> Any:
    """JSON knows no NaN: a gap in a line."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
