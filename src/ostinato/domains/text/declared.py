"""Text: words, or characters."""

from dataclasses import replace
from typing import Any, Literal

from ostinato.domains.declared import Command, DomainDeclared, NoOptions, columns_of
from ostinato.domains.text import options
from ostinato.domains.text.paper import TABLE2_CHARS, TABLE2_WORDS
from ostinato.errors import UserError, argument, call
from ostinato.evaluation.measure import BITS_PER_CHARACTER, PERPLEXITY
from ostinato.recipe.setting import Setting

_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "valid_data",
        str | None,
        None,
        "Text",
        "validation text; alone, or with a test text",
        unset="held out of the data",
        files=True,
    ),
    Setting(
        "test_data",
        str | None,
        None,
        "Text",
        "test text; goes with a validation text",
        unset="held out of the data",
        files=True,
    ),
    Setting(
        "vocabulary_size",
        int,
        10_000,
        "Text",
        "most distinct words or characters; the rest are unknown",
        low=3,
        high=10_000_000,
    ),
    Setting(
        "unit",
        Literal["words", "subwords", "chars", "bytes"] | None,
        None,
        "Text",
        "what a token is; of words: words or subwords, of chars: chars or bytes",
        unset="the domain's own",
    ),
    Setting(
        "vocabulary",
        str | None,
        None,
        "Text",
        "file of the words that are known, one a line; the rest are unknown",
        unset="those of the training text",
        files=True,
    ),
    Setting(
        "minimum_count",
        int,
        1,
        "Text",
        "words or characters seen less often in training are unknown",
        low=1,
        high=1_000_000_000,
    ),
    Setting(
        "keep_singletons",
        bool,
        False,
        "Text",
        "know words seen only once too, where all have room",
    ),
    Setting(
        "unknown_types",
        int | None,
        None,
        "Text",
        "how many different words the unknown token stands for",
        low=1,
        high=1_000_000_000,
        unset="what the training text says of it",
    ),
    Setting(
        "white_space",
        Literal["unicode", "ascii"],
        "unicode",
        "Text",
        "what separates words; no-break spaces are none of ASCII's",
    ),
    Setting(
        "independent",
        bool,
        False,
        "Text",
        "each sentence is a sequence of its own, from the start state; by default the state is carried",
        free=True,
    ),
    Setting(
        "init_from",
        str | None,
        None,
        "Training",
        "run whose trained weights and vocabulary training starts from",
        unset="weights are drawn from the seed",
        files=True,
    ),
    Setting(
        "direct",
        int,
        0,
        "Text",
        "weights for direct n-gram (maximum-entropy) connections; 0 for none",
        low=0,
        high=1 << 32,
    ),
    Setting(
        "direct_order",
        int,
        3,
        "Text",
        "longest n-gram of direct connections",
        low=2,
        high=20,
        needs={"direct": ()},
    ),
    Setting(
        "direct_rate",
        float | None,
        None,
        "Optimization",
        "learning rate of direct connections, of the sum over tokens; it follows the schedule of the others",
        low=0,
        above=True,
        needs={"direct": ()},
        unset="the optimizer moves them as other weights: slower, and they hardly learn",
    ),
    Setting(
        "direct_l2",
        float,
        0.0,
        "Optimization",
        "L2 penalty of direct connections, a token; try 1 / (tokens of the training text)",
        low=0,
        needs={"direct": (), "direct_rate": ()},
    ),
    Setting(
        "embedding_size",
        int | None,
        None,
        "Model",
        "numbers of a token's embedding, which the first layer reads by weights of its own",
        low=1,
        high=100_000,
        unset="a token's row goes straight to the units",
    ),
    Setting(
        "tied",
        bool,
        False,
        "Model",
        "embedding and output share their weights; the embedding has the size of a layer",
    ),
    Setting(
        "embedding_scale",
        float,
        1.0,
        "Model",
        "token embeddings start uniform in [-scale, scale]",
        low=0,
        high=100,
    ),
    Setting(
        "recurrent_scale",
        float,
        1.0,
        "Model",
        "what the initial recurrent weights are multiplied by",
        low=0,
        high=10,
    ),
    Setting(
        "embedding_rate",
        float,
        1.0,
        "Optimization",
        "learning rate of the token embedding, relative to learning_rate",
        low=0,
        needs={"learning_rate": ()},
    ),
)

# Of direct connections in new runs; docs/text.md has what was tried.
DIRECT_RATE = 0.03

_COMMANDS = {
    "generate": Command(options=options.GenerateOptions, place="ostinato.domains.text.commands:write_text"),
    "score": Command(options=options.ScoreOptions, place="ostinato.domains.text.commands:score_file"),
    "export": Command(options=NoOptions, place="ostinato.domains.text.commands:export_file"),
    "evaluate": Command(options=options.EvaluateOptions),
    "show": Command(options=options.ShowOptions),
}
_ARPA = (".arpa", ".arpa.gz")

# Scores on other texts, or with other unknown words, do not compare.
_FIXED = (
    "valid_data",
    "test_data",
    "unit",
    "vocabulary",
    "vocabulary_size",
    "minimum_count",
    "keep_singletons",
    "white_space",
)
_MOMENTUM = {"momentum": {"low": 1e-3, "high": 0.95}}

# A quarter of the units, in the paper's printed range (docs/text.md tells how it was chosen).
_LEAK = {"leak_fraction": 0.25, "leak_low": 0.02, "leak_high": 0.2}


# Those of each domain, its own first.
UNITS = {"words": ("words", "subwords"), "chars": ("chars", "bytes")}


def _check(recipe: Any) -> None:
    units = UNITS[recipe.domain]
    if recipe.unit is not None and recipe.unit not in units:
        other = next(domain for domain, own in UNITS.items() if recipe.unit in own)
        raise UserError(
            f"expected {argument('unit')} {' or '.join(units)} for {recipe.domain}, found {recipe.unit}; "
            f"use {call('train', domain=other, unit=recipe.unit)}"
        )
    _check_vocabulary(recipe)
    for name in ("direct", "tied"):
        if recipe.get(name) and recipe.optimizer == "hessian-free":
            raise UserError(f"{argument(name)} {recipe.get(name)} does not go with HF; leave it out")
    if recipe.tied:
        _check_tied(recipe)
    if recipe.direct > 0 and recipe.direct_rate is not None and recipe.get("vanishing_penalty", 0.0) > 0:
        raise UserError(
            f"{argument('vanishing_penalty')} does not go with {argument('direct')}, which would learn twice "
            "from each update; leave one of them out"
        )
    by_stream = recipe.get("clip", "none") != "none" and recipe.get("clip_by") == "sequence"
    if recipe.direct > 0 and recipe.direct_rate is not None and by_stream and recipe.streams > 1:
        raise UserError(
            f"{argument('clip_by')} sequence does not go with {argument('direct')}, which learns of all "
            f"streams together; set it to minibatch"
        )


def _check_tied(recipe: Any) -> None:
    """One matrix has one size, and one learning rate."""
    if recipe.embedding_size not in (None, recipe.hidden_size):
        raise UserError(
            f"expected {argument('embedding_size')} {recipe.hidden_size} with {argument('tied')}, the size "
            f"of a layer, found {recipe.embedding_size}; leave it out"
        )
    for name in ("embedding_rate", "within_class_rate"):
        if recipe.get(name, 1.0) != 1.0:
            raise UserError(
                f"expected {argument(name)} 1 with {argument('tied')}, whose one matrix has one rate, found "
                f"{recipe.get(name)}; set it, or use {argument('optimizer')} adam, which has it so"
            )


def _check_vocabulary(recipe: Any) -> None:
    """Settings of a vocabulary that are for units of other kinds are mistakes."""
    if recipe.unit in ("subwords", "bytes"):
        usual = {"vocabulary": None, "minimum_count": 1, "keep_singletons": False, "unknown_types": None}
        for name, value in usual.items():
            if getattr(recipe, name) != value:
                raise UserError(
                    f"{argument(name)} does not go with {recipe.unit}, which spell all; leave it out"
                )
    if recipe.vocabulary is not None and recipe.init_from is not None:
        raise UserError(
            f"{argument('vocabulary')} does not go with {argument('init_from')}, whose vocabulary is kept; "
            "leave it out"
        )
    if recipe.vocabulary is not None and recipe.domain != "words":
        raise UserError(f"{argument('vocabulary')} is for words, found {recipe.domain}; leave it out")


def _check_words(recipe: Any) -> None:
    _check(recipe)
    if 0 < recipe.direct < 2 * recipe.vocabulary_size:
        raise UserError(
            f"expected {argument('direct')} of at least {2 * recipe.vocabulary_size} weights, twice "
            f"{argument('vocabulary_size')}, found {recipe.direct}; a million is usual"
        )


# Of tokens that are neither words nor characters the mean log-likelihood says nothing of these: validation
# records the score itself.
_PARTS = {
    ("unit", "subwords"): replace(PERPLEXITY, shown=None, label="perplexity by word"),
    ("unit", "bytes"): replace(BITS_PER_CHARACTER, shown=None),
}

# What words and characters have in common.
_BOTH: dict[str, Any] = {
    "place": "ostinato.domains.text.domain:Text",
    "targets": "category",
    "recipe": "SGD+CLR",
    "step": "token",
    "sequences": "sentences",
    "clusters": "blocks of neighbouring sentences",
    "generate": "--tokens 200",
    "sampler": "ostinato.domains.text.samples:make",
    "names": ("pydoc", "ptb"),
    "data_sets": "ostinato.domains.text.reading.data_sets",
    "family": "text",
    "reads": "a .txt file",
    "commands": _COMMANDS,
    "claims": "unit",
    "measures": _PARTS,
    "settings": _SETTINGS,
    "rates": {"embedding_rate": ("rnn.embedding",)},
    "hessian_free": {"streams": 64},
    "fixed": _FIXED,
    # runs of before were trained by the optimizer alone
    "anew": lambda chosen: {} if chosen["optimizer"] == "hessian-free" else {"direct_rate": DIRECT_RATE},
}
_BOTH_DEFAULTS: dict[str, Any] = {"data": "pydoc", "learning_rate_rule": "halving", "epochs": 100}
_BOTH_LETTERS: dict[str, Any] = {"L": _LEAK, "R": {"l1": 1e-5}}

# Thresholds of C lie above most norms: the average over a pass is one of the few bursts that rectifiers have.
WORDS = DomainDeclared(
    **_BOTH,
    name="words",
    summary="text, word by word",
    of_data="words",
    measure=PERPLEXITY,
    columns=(
        *columns_of("perplexity", "perplexity"),
        *columns_of("perplexity_known", "without unknown words", ("test",)),
    ),
    published=TABLE2_WORDS,
    models=_ARPA,
    check=_check_words,
    defaults=_BOTH_DEFAULTS
    | {
        "output": "class-softmax",
        "hidden_size": 200,
        "segment_length": 40,
        "streams": 20,
        "embedding_scale": 0.1,
        "learning_rate": 0.7,
        "embedding_rate": 80.0,
        "within_class_rate": 10.0,
    },
    letters=_BOTH_LETTERS | {"C": {"clip": 1.0}, "M": {"learning_rate": 0.07}},
    search={"learning_rate": {"choices": [0.1, 0.01, 0.001]}},
    search_letters={
        "C": {"clip": {"choices": [30.0, 50.0, "none"]}},
        # none or 50 of the 200 units; the leaks themselves are spread over [0.02, 0.2]
        "L": {"leak_fraction": {"choices": [0.0, 0.25]}},
        "R": {"nonlinearity": {"choices": ["relu", "sigmoid"]}},
        "M": _MOMENTUM,
    },
)

# The first gradients of W_hh are nearly of rank one, and push its norm above that of an orthogonal matrix:
# over 150 steps of rectifiers the state then grows a thousandfold.
_NEW_CHARS = {"recurrent_scale": 0.9}

CHARS = DomainDeclared(
    **_BOTH | {"anew": lambda chosen: _BOTH["anew"](chosen) | _NEW_CHARS},
    name="chars",
    summary="text, character by character",
    of_data="characters",
    measure=BITS_PER_CHARACTER,
    columns=columns_of("bits_per_character", "bits/character"),
    published=TABLE2_CHARS,
    check=_check,
    defaults=_BOTH_DEFAULTS
    | {
        "output": "softmax",
        "hidden_size": 500,
        "segment_length": 150,
        "streams": 10,
        "initialization": "orthogonal",
        "embedding_scale": 0.2,
        "learning_rate": 4.0,
        "embedding_rate": 10.0,
        "averaging": 0.999,
    },
    letters=_BOTH_LETTERS | {"C": {"clip": 0.5}, "M": {"learning_rate": 0.5}},
    search={"learning_rate": {"choices": [0.5, 0.1, 0.01]}},
    search_letters={"M": _MOMENTUM},
)
