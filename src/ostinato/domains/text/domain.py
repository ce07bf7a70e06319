"""Text as everything else sees it: one long sequence of token ids in each split."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.batches import batches
from ostinato.data.sequences import SPLITS
from ostinato.domains.answer import Asked
from ostinato.domains.base import BaseDomain
from ostinato.domains.domain import Each, Overlap, Scores, Totals, Validation
from ostinato.domains.given import Given
from ostinato.domains.text import memory
from ostinato.domains.text.direct_model import DirectModel
from ostinato.domains.text.evaluation.scores import score_together, score_tokens, sentence_totals, text_scores
from ostinato.domains.text.options import EvaluateOptions, GenerateOptions
from ostinato.domains.text.reading import data_sets
from ostinato.domains.text.reading.extents import OF_WORDS
from ostinato.domains.text.reading.overlap import overlap
from ostinato.domains.text.reading.streams import SentenceStreams, TokenStreams
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.reading.vocabulary import END_ID, Unit, Vocabulary, Wanted
from ostinato.domains.text.reading.words import without_marks
from ostinato.domains.text.results import score_text, scored_tokens, unigram_scores
from ostinato.domains.text.score import RunScorer, read_text, scored_text
from ostinato.domains.text.shown import each_sentence, text_table
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument
from ostinato.evaluation.sequences import SequenceScore, SequenceScores, scores_of
from ostinato.evaluation.tables import Table
from ostinato.nn import SequenceModel
from ostinato.nn.outputs import DirectNgrams
from ostinato.nn.outputs.base import Tieable
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import VOCABULARY, Run
from ostinato.training.build import Sizes, build_model

SEPARATE = "each text by itself, predicted from the end of a sentence; unknown tokens are scored as one token"


def unit_of(recipe: Recipe) -> Unit:
    """What a token is: the recipe's unit, or what its domain is called after."""
    unit: Any = recipe.unit or recipe.domain
    found: Unit = unit
    return found


def wanted_of(recipe: Recipe) -> Wanted:
    """Which tokens a recipe's vocabulary takes, but for a list of words."""
    return Wanted(
        size=recipe.vocabulary_size,
        minimum_count=recipe.minimum_count,
        keep_singletons=recipe.keep_singletons,
        unknown_types=recipe.unknown_types,
        white_space=recipe.white_space,
    )


def first_vocabulary(recipe: Recipe) -> Vocabulary | None:
    """Of the run that training starts from; None where it starts from nothing."""
    return None if recipe.init_from is None else Vocabulary.read(Path(recipe.init_from))


def tie(model: SequenceModel) -> None:
    """Let a model's output have the weights of its embedding."""
    rnn: Any = model.rnn
    if not isinstance(model.output, Tieable):
        raise UserError(
            f"{argument('tied')} is for outputs whose weights can be an embedding, found "
            f"{type(model.output).__name__}; leave it out"
        )
    model.output.tie_(rnn.embedding)
    rnn.sparse = False  # every row has a gradient, from the output


class Text(BaseDomain):
    """Words, or characters; the recipe's unit may be parts of these."""

    what = "text"
    forgets_bursts = True

    def load(self, recipe: Recipe, *, progress: bool = True) -> TextData:
        """A data set by name, or files; in the vocabulary of the run that training starts from, if one is."""
        data = data_sets.load(
            recipe.data,
            unit_of(recipe),
            valid=recipe.valid_data,
            test=recipe.test_data,
            vocabulary=first_vocabulary(recipe),
            wanted=wanted_of(recipe),
            word_list=recipe.vocabulary,
        )
        return replace(data, independent=recipe.independent)

    def knows(self, given: Given) -> bool:
        """Strings, or token ids (N,), whole numbers."""
        return memory.knows(given)

    def wrap(self, recipe: Recipe, given: Given) -> TextData:
        """Texts, one after the other."""
        wanted = wanted_of(recipe)
        if recipe.vocabulary is not None:
            wanted = replace(wanted, words=data_sets.listed_words(recipe.vocabulary))
        data = memory.wrap(given, unit_of(recipe), wanted, first_vocabulary(recipe))
        return replace(data, independent=recipe.independent)

    def generate(self, trained: TrainedModel, asked: Asked, options: GenerateOptions) -> Any:
        """A text that begins with what is continued; of a model of token ids arrays of them."""
        from ostinato.domains.text.commands import how, unknown_in, written

        ids = trained.data["details"].get("token_ids", False)
        prime = "" if asked.prime is None else self._texts([asked.prime], ids=ids)[0].rstrip("\n")
        vocabulary = Vocabulary.read(trained.folder)
        for notice in unknown_in(vocabulary, prime):
            warnings.warn(notice.text, stacklevel=4)
        drawn = written(trained.model, vocabulary, prime, asked.seed, how(options), options.tokens)
        text = prime + "".join(drawn)
        return memory.ids_of(text) if ids else text

    def score_each(self, trained: TrainedModel, sequences: Sequence[Any]) -> SequenceScores:
        """Texts, each by itself, with their sentence ends; the detail is a `ScoredText`."""
        vocabulary = Vocabulary.read(trained.folder)
        ids = trained.data["details"].get("token_ids", False)
        texts = self._texts(sequences, ids=ids)
        if vocabulary.unit in OF_WORDS and any(without_marks(text)[1] for text in texts):
            raise UserError(
                "expected sentences without <s> and </s>, which a model adds itself; leave them out"
            )
        tokens = [vocabulary.split(text) for text in texts]
        numbers = [vocabulary.numbers(own) for own in tokens]
        found: dict[int, np.ndarray] = {}
        for group in batches([len(own) for own in numbers]):
            together = score_together(trained.model, [numbers[k] for k in group])
            found |= dict(zip(group, together, strict=True))
        scorer, each = RunScorer(trained.model, vocabulary), []
        for k, own in enumerate(tokens):
            known = np.array([scorer.known(token) for token in own])
            detail = scored_text(scorer, texts[k], own, found[k], known)
            each.append(SequenceScore(f"text {k + 1}", found[k], detail))
        return scores_of(each, "nats/token", SEPARATE)

    def _texts(self, sequences: Sequence[Any], *, ids: bool) -> list[str]:
        texts = [
            read_text(one) if isinstance(one, Path) else memory.line_of(one, ids=ids) for one in sequences
        ]
        for k, text in enumerate(texts, start=1):
            if not text.strip():
                raise UserError(f"expected text, found none but white space in text {k}")
        return texts

    def identity(self, data: TextData) -> dict[str, Any]:
        """Name, version, V and details."""
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": len(data.vocabulary),
            "details": data.details,
        }

    def summary(self, data: TextData) -> dict[str, Any]:
        """Sentences or lines and tokens of each split, size of the vocabulary."""
        counts = {
            s: {"sentences": int((np.asarray(data[s]) == END_ID).sum()), "tokens": data.frames(s)}
            for s in SPLITS
        }
        return {"splits": counts, "vocabulary": len(data.vocabulary)}

    def model(
        self,
        recipe: Recipe,
        identity: Mapping[str, Any],
        data: TextData | None = None,
        stored: Mapping[str, Tensor] | None = None,
    ) -> SequenceModel:
        """A model whose output starts at the token frequencies; with direct n-grams if there are any."""
        size = identity["visible_size"]
        start = {} if data is None else {"frequencies": data.vocabulary.frequencies()}
        width = recipe.hidden_size if recipe.tied else recipe.embedding_size
        model = build_model(recipe, Sizes(size, size, tokens=True, embedding=width), start, stored)
        # One token is on at a time: a fan-in of 1, not of V.
        with torch.no_grad():
            embedding: Tensor = model.rnn.get_parameter("embedding")  # type: ignore[attr-defined]
            embedding.mul_(math.sqrt(recipe.hidden_size) * recipe.embedding_scale)
            for name, weight in model.rnn.named_parameters():
                if name.startswith("weight_hh"):
                    weight.mul_(recipe.recurrent_scale)
        if recipe.tied:
            tie(model)
        if recipe.direct == 0:
            return model
        output: Any = model.output
        direct = DirectNgrams(
            recipe.direct,
            recipe.direct_order,
            output.widest,
            learns_apart=recipe.direct_rate is not None,
            rate=recipe.direct_rate or 0.0,
            l2=0.0 if recipe.direct_rate is None else recipe.direct_l2,
            dtype=getattr(torch, recipe.dtype),
        )
        return DirectModel(model.rnn, output, direct, recipe.l1, recipe.l2)

    def streams(self, recipe: Recipe, data: TextData, epoch: int) -> TokenStreams | SentenceStreams:
        """The text as a ring, turned anew each epoch; independent sentences in a new order."""
        generator = np.random.default_rng([recipe.seed, epoch])
        kind = SentenceStreams if data.independent else TokenStreams
        return kind(data.train, recipe.streams, recipe.segment_length, generator)

    def validate(self, model: SequenceModel, data: TextData) -> Validation:
        """In one sequential pass; with the perplexity of words, or the bits of a character."""
        log_probs = score_tokens(model, data.valid, independent=data.independent)
        score, unit = float(log_probs.mean()), data.vocabulary.unit
        if unit in ("words", "chars"):
            nats = -score
        else:  # a token is neither a word nor a character
            extents = data.extents["valid"]
            counts = extents.words if unit == "subwords" else extents.characters
            nats = -float(log_probs.sum()) / max(int(counts.sum()), 1)
        if unit in OF_WORDS:
            return Validation(score, {"valid_perplexity": math.exp(min(nats, 700))})
        return Validation(score, {"valid_bits_per_character": nats / math.log(2)})

    def prepare(self, data: TextData, run: Run) -> None:
        """The vocabulary."""
        run.write_text(VOCABULARY, data.vocabulary.to_text())

    def score(
        self,
        recipe: Recipe,
        model: SequenceModel,
        data: TextData,
        splits: tuple[str, ...] = SPLITS,
        *,
        baselines: bool = True,
    ) -> Scores:
        """The model, and the 1-gram of the training text."""
        splits = tuple(split for split in splits if data.frames(split) > 0)
        scores: Scores = {"model": {split: score_text(model, data, split) for split in splits}}
        return scores | (unigram_scores(data, splits) if baselines else {})

    def overlap(self, data: TextData, split: str) -> Overlap:
        """Sentences that stand in the training text."""
        return overlap(data.train, scored_tokens(data, split), data.vocabulary.unit)

    def totals(self, model: SequenceModel, data: TextData, split: str) -> Totals:
        """Of each sentence."""
        tokens = scored_tokens(data, split)
        independent = data.independent
        log_probs = score_tokens(model, tokens, independent=independent)
        totals, counts = sentence_totals(log_probs, tokens)
        scores = text_scores(data.vocabulary, log_probs, tokens, independent=independent)
        score = scores["log_likelihood"]
        return Totals(score, totals, counts, "sentences", ordered=True)

    def baselines(self, data: TextData, splits: tuple[str, ...] = SPLITS) -> Scores:
        """The 1-gram of the training text."""
        return unigram_scores(data, tuple(split for split in splits if data.frames(split) > 0))

    def table(self, scores: Scores, title: str, *, whole: bool = False) -> Table:
        """Systems against splits."""
        return text_table(scores, title)

    def other_data(self, run: Run | None, data: str, given: Mapping[str, Any]) -> TextData:
        """In the run's vocabulary, or in one of their own."""
        if run is not None and run.load_checkpoint("last")[1]["data"]["details"].get("token_ids", False):
            raise UserError(
                f"expected token ids, which the run was trained on, found {argument('data')} {data}; score "
                "sequences of them in memory"
            )
        vocabulary = None if run is None else Vocabulary.read(run.folder)
        unit: Any = self.declared.name if vocabulary is None else vocabulary.unit
        loaded = data_sets.load(data, unit, vocabulary=vocabulary)
        independent = run is not None and Recipe.from_dict(run.config()).independent
        return replace(loaded, independent=independent)

    def each(self, model: SequenceModel, data: TextData, options: EvaluateOptions) -> Each | None:
        """The sentences of a split."""
        return None if options.per_sentence is None else each_sentence(model, data, options.per_sentence)
