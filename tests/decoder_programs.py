"""Programs that decode with a run's model, run by Pythons that have the decoders; each prints its finds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ostinato

# Emissions (T, tokens) as an acoustic model might make them: of a sentence's letters, with noise.
EMISSIONS = """
import json, sys
import numpy as np
import torch
import ostinato

lm = ostinato.LanguageModel.open(sys.argv[1])
words = json.loads(sys.argv[2])
letters = ["-", "|", *sorted({letter for word in words for letter in word})]

def emissions(sentence, seed):
    rng = np.random.default_rng(seed)
    logits = []
    for letter in "|".join(sentence.split()) + "|":
        for own in (letter, "-"):
            row = rng.normal(size=len(letters))
            row[letters.index(own)] += 6.0
            logits.append(row)
    return torch.log_softmax(torch.tensor(np.array(logits)), -1)

found = []
"""

PYCTCDECODE = (
    EMISSIONS
    + """
from pyctcdecode import Alphabet, BeamSearchDecoderCTC

alpha, beta = 0.5, 0.2
labels = ["" if x == "-" else " " if x == "|" else x for x in letters]
scorer = lm.for_pyctcdecode(alpha=alpha, beta=beta)
decoder = BeamSearchDecoderCTC(Alphabet(labels, False), language_model=scorer)
alone, without = BeamSearchDecoderCTC(Alphabet(labels, False)), []
for seed, sentence in enumerate(json.loads(sys.argv[3])):
    given = emissions(sentence, seed).numpy()
    wide = dict(beam_width=300, token_min_logp=-50.0, beam_prune_logp=-500.0)
    found.append([(beam[0], beam[-2], beam[-1]) for beam in decoder.decode_beams(given, **wide)])
    without.append([(beam[0], beam[-2]) for beam in alone.decode_beams(given, **wide)])
print(json.dumps({"alpha": alpha, "beta": beta, "beams": found, "without": without}))
"""
)

TORCHAUDIO = (
    EMISSIONS
    + """
from torchaudio.models.decoder import ctc_decoder

weight, bonus = 0.5, 0.2
with open(sys.argv[4], "w") as file:
    file.writelines(word + chr(10) for word in [*words, "<unk>"])
lexicon = sys.argv[4] + ".lexicon"
with open(lexicon, "w") as file:
    file.writelines(word + " " + " ".join(word) + " |" + chr(10) for word in words)


def decoded(model):
    decoder = ctc_decoder(
        lexicon, letters, lm=model, lm_dict=sys.argv[4], nbest=50, beam_size=1000,
        beam_size_token=len(letters),
        beam_threshold=500.0, lm_weight=weight, word_score=bonus,
    )
    lists = []
    for seed, sentence in enumerate(json.loads(sys.argv[3])):
        (best,) = decoder(emissions(sentence, seed).float().unsqueeze(0))
        lists.append([(" ".join(x.words), x.score) for x in best])
    return lists


found, without = decoded(lm.for_torchaudio([*words, "<unk>"])), decoded(None)
# without a lexicon: letters as tokens of a model of characters
chars = ostinato.LanguageModel.open(sys.argv[5])
tokens = [" " if x == "|" else x for x in letters]
free = ctc_decoder(
    None, letters, lm=chars.for_torchaudio(tokens, as_tokens=True), nbest=5, beam_size=100,
    beam_size_token=len(letters), beam_threshold=500.0, lm_weight=weight,
)
free_without = ctc_decoder(
    None, letters, lm=None, nbest=50, beam_size=1000, beam_size_token=len(letters), beam_threshold=500.0,
)
spelled, spelled_without = [], []
for seed, sentence in enumerate(json.loads(sys.argv[3])):
    for decoder, lists in ((free, spelled), (free_without, spelled_without)):
        (best,) = decoder(emissions(sentence, seed).float().unsqueeze(0))
        lists.append([("".join(free.idxs_to_tokens(x.tokens)), x.score) for x in best])
print(json.dumps({
    "weight": weight, "bonus": bonus, "with": found, "without": without, "spelled": spelled,
    "spelled_without": spelled_without,
}))
"""
)


def environment(folder: Path, *arguments: str) -> tuple[str, Path]:
    """A Python that has what this one has, and more; the test is skipped where that cannot be had."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    (site,) = (folder / "lib").glob("python*/site-packages")
    source = str(Path(ostinato.__file__).parent.parent)
    shared = [path for path in dict.fromkeys([source, *sys.path]) if path.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join([source, *shared]) + "\n")
    made = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *arguments], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"pip cannot install {' '.join(arguments)} here: {made.stderr.strip()[-200:]}")
    return python, site


def output_of(python: str, program: str, *arguments: str) -> Any:
    outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=outside,
        cwd=Path(arguments[0]).parent,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
