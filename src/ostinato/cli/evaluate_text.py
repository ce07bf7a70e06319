"""`ostinato evaluate` for runs on text: perplexity, or bits per character."""

from ostinato.cli.output import print_json, print_table
from ostinato.cli.tables import Column, Table, number_columns
from ostinato.cli.text_output import text_table
from ostinato.domains.domain import load_data
from ostinato.domains.text.reading import data_sets as text
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.domains.text.results import score_sentences, scored_tokens
from ostinato.errors import UserError
from ostinato.evaluation.numbers import number
from ostinato.runs.folder import Run
from ostinato.runs.results import score_run
from ostinato.runs.trained import load_model


def evaluate_text(run: Run, data: str | None, per_sentence: str | None, *, device: str, json: bool) -> int:
    """Score a run's best model on its data, or on other text; print tables or JSON."""
    loaded = data_for(run, data)
    results = score_run(run, loaded, device=device)
    sentences = None
    if per_sentence is not None:
        tokens = scored_tokens(loaded, per_sentence)
        sentences = score_sentences(load_model(run, device=device).model, loaded.vocabulary, tokens)
    if json:
        about = {"name": loaded.name, "version": loaded.version, "details": loaded.details}
        extra = {} if sentences is None else {"sentences": sentences}
        print_json({"data": about, "results": results.to_dict()} | extra)
        return 0
    print_table(text_table(results, f"{run.folder} on {loaded.name}"))
    if sentences is not None:
        columns = [*number_columns("log-probability", "tokens"), Column("sentence", text=True)]
        table = Table(columns, f"log-probability of each sentence of {per_sentence} (nats)")
        for sentence in sentences:
            table.add(number(sentence["log_prob"], "nats"), str(sentence["tokens"]), sentence["sentence"])
        print_table(table)
    return 0


def data_for(run: Run, data: str | None) -> TextData:
    """The run's own data, which must not have changed since, or other text in the run's vocabulary."""
    trained = load_model(run)
    vocabulary = Vocabulary.read(run.folder)
    if data is not None:
        return text.load(data, vocabulary.unit, vocabulary=vocabulary)
    loaded = load_data(trained.recipe)
    if not isinstance(loaded, TextData) or loaded.version != trained.data["version"]:
        raise UserError(
            f"expected the text the run was trained on (version {trained.data['version'][:12]}), found "
            f"version {loaded.version[:12]} of {trained.recipe.data}: it changed; name the text with "
            f"--data {trained.recipe.data} to score it all the same, in the run's vocabulary"
        )
    return loaded
