"""`ostinato rescore`: the best hypothesis of each utterance of an n-best list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from ostinato.cli.output import present

_MODELS = Group("Models", sort_key=2)
_RANKING = Group("Ranking", sort_key=3)
_LISTS = Group("Lists", sort_key=4)
_OUTPUT = Group("Output", sort_key=5)


def rescore_list(
    run: Path,
    nbest: list[Path],
    *,
    format: Annotated[Literal["table", "kaldi", "srilm"], Parameter(group=_LISTS)] = "table",
    costs: Annotated[list[Path] | None, Parameter(group=_LISTS)] = None,
    conversations: Annotated[Path | None, Parameter(group=_LISTS)] = None,
    mix_with: Annotated[list[Path] | None, Parameter(group=_MODELS)] = None,
    mix_weight: Annotated[list[float] | None, Parameter(group=_MODELS)] = None,
    fit_on: Annotated[Path | None, Parameter(group=_MODELS)] = None,
    carry: Annotated[bool, Parameter(group=_MODELS)] = False,
    dynamic: Annotated[bool, Parameter(group=_MODELS)] = False,
    dynamic_rate: Annotated[float, Parameter(group=_MODELS)] = 0.1,
    score_weights: Annotated[list[float] | None, Parameter(group=_RANKING)] = None,
    lm_weight: Annotated[float, Parameter(group=_RANKING)] = 1.0,
    word_bonus: Annotated[float, Parameter(group=_RANKING)] = 0.0,
    unknown_types: Annotated[int | None, Parameter(group=_RANKING)] = None,
    unknown_penalty: Annotated[float | None, Parameter(group=_RANKING)] = None,
    tune: Annotated[Path | None, Parameter(group=_RANKING)] = None,
    lines: Annotated[bool, Parameter(group=_OUTPUT)] = False,
    base: Annotated[Literal["e", "10"], Parameter(group=_OUTPUT)] = "e",
    all: Annotated[bool, Parameter(group=_OUTPUT)] = False,
    json: Annotated[bool, Parameter(group=_OUTPUT)] = False,
) -> int:
    """Rank the hypotheses of an n-best list; print UTTERANCE <tab> WORDS, the best of each utterance.

    A line of a table is UTTERANCE, any number of scores, and WORDS, separated by tabs. Wherever a text is
    read, - is standard input, and what gzip has packed is unpacked.

    Parameters
    ----------
    run
        The run's folder, or an ARPA file.
    nbest
        The list, or several.
    format
        Of the lists: table; kaldi, a text archive of UTTERANCE-N WORDS; srilm, a file for each utterance.
    costs
        An archive of Kaldi's costs, UTTERANCE-N COST; a cost is a score of the opposite sign. Give it again
        for more.
    conversations
        UTTERANCE CONVERSATION, one a line, such as Kaldi's utt2spk: the state is carried within each.
    mix_with
        Another model: a run's folder or an ARPA file; give it again for more.
    mix_weight
        Weight of the other model, from 0 to 1; given again, of the next.
    fit_on
        Fit the weights on this text by expectation maximisation instead.
    carry
        Carry the state from the best hypothesis of an utterance to the next utterance.
    dynamic
        The model goes on learning from the best hypotheses; the run stays as it is.
    dynamic_rate
        Learning rate for --dynamic.
    score_weights
        Weight of a score that comes with the list, given again of the next; 1 each by default.
    lm_weight
        Weight of the language model's log-probability (natural logarithm).
    word_bonus
        Added for every word.
    unknown_types
        How many words the unknown word of the run stands for, which share its probability; by default what
        the run says of it.
    unknown_penalty
        Take so many nats off for each unknown word instead of sharing; where the model has no unknown word,
        they are all that the word is worth.
    tune
        Find weights by word errors on a half of the utterances in this file, UTTERANCE WORDS a line, and
        try them on the other half.
    lines
        Print one log-probability for each hypothesis, in the order of the list.
    base
        Of the logarithm of --lines: e or 10.
    all
        Print every hypothesis with its total and log-probability, best first.
    json
        Print one JSON object.
    """
    from ostinato.domains.text.rescoring import RescoreOptions, rescore_lists

    own = RescoreOptions(
        format=format,
        costs=tuple(costs or ()),
        score_weights=tuple(score_weights or ()),
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        mix_with=tuple(mix_with or ()),
        mix_weight=tuple(mix_weight or ()),
        fit_on=fit_on,
        unknown_types=unknown_types,
        unknown_penalty=unknown_penalty,
        carry=carry,
        conversations=conversations,
        dynamic=dynamic,
        dynamic_rate=dynamic_rate,
        tune=tune,
        lines=lines,
        base=base,
        all=all,
    )
    present(rescore_lists(run, nbest, own), json=json)
    return 0
