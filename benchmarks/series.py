"""Recurrent networks on generated series, beside persistence and an autoregression, by a loop of its own.

    python benchmarks/series.py [--data mackey-glass lorenz ar1] [--updates 6000] [--seeds 1] [--pictures .]

"ar1" is a Gaussian AR(1) with coefficient 0.8, whose entropy is known: no model can do better. Scores are of
test, on the same targets for all; the model is the one that was best in validation. In brackets: one standard
error over series, or over blocks of steps where there are few.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.series.baselines import fit_baselines
from ostinato.domains.series.evaluation import evaluate_series
from ostinato.domains.series.forecast import forecast
from ostinato.domains.series.generated import autoregression, generate
from ostinato.domains.series.pictures import forecast_picture, surprise_picture
from ostinato.domains.series.predictor import SeriesModel
from ostinato.domains.series.reading import Collection
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import split
from ostinato.domains.series.streams import SeriesStreams
from ostinato.domains.series.surprise import surprise
from ostinato.evaluation.scores import Score
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Gaussian, GaussianMixture
from ostinato.optim import clip_grad_norm

COEFFICIENT = 0.8
OUTPUTS = {
    "diagonal": lambda h, d, g: Gaussian(h, d, "diagonal", generator=g),
    "full": lambda h, d, g: Gaussian(h, d, "full", generator=g),
    "mixture": lambda h, d, g: GaussianMixture(h, d, 3, "full", generator=g),
}


def load(name: str) -> Splits:
    if name != "ar1":
        return split(generate(name))
    series = [
        Sequence(f"ar1 {k}", autoregression(5000, k, coefficient=COEFFICIENT)[:, np.newaxis])
        for k in range(40)
    ]
    return split(Collection("ar1", ("x",), tuple(series), "a Gaussian AR(1)"))


def train(
    data: Splits, scaling: Scaling, output: str, hidden: int, updates: int, seed: int, rate: float = 3e-3
) -> SeriesModel:
    """Adam, its rate falling as a cosine to 0, on streams of 100 steps; the best of validation."""
    generator = torch.Generator().manual_seed(seed)
    size = len(scaling.columns)
    made = OUTPUTS[output](hidden, size, generator)
    model = SequenceModel(RNN(size, hidden, initialization="orthogonal", generator=generator), made)
    predictor = SeriesModel(model, with_mask=False)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    best, kept, done, epoch = -math.inf, copy.deepcopy(model.state_dict()), 0, 0
    while done < updates:
        draw = np.random.default_rng([seed, epoch])
        states = None
        for segment in SeriesStreams(data.train, scaling, 32, 100, draw, with_mask=False):
            loss = model.loss(segment.inputs, segment.targets, states, segment.starts, segment.mask)
            states = loss.states
            if loss.frames == 0:
                continue
            optimizer.zero_grad()
            loss.objective.backward()
            clip_grad_norm(list(model.parameters()), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * min(done / updates, 1)))
            optimizer.step()
            done += 1
        epoch += 1
        if epoch % 20 == 0 or done >= updates:
            score = evaluate_series(predictor, data.valid, scaling)["log_likelihood"].value
            if score > best:
                best, kept = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    model.eval()
    return predictor


def row(name: str, scores: dict[str, Score]) -> str:
    def shown(key: str) -> str:
        score = scores[key]
        return f"{score.value:9.4f} ({score.standard_error:.4f})"

    keys = ("log_likelihood", "rmse", "crps", "coverage_90")
    return f"{name:<22}" + "  ".join(shown(key) for key in keys)


def draw(folder: Path, name: str, model: SeriesModel, data: Splits, scaling: Scaling) -> None:
    series = data.test[0].values
    history, horizon = series[:300], 100
    generator = torch.Generator().manual_seed(0)
    made = forecast(model, history, horizon, scaling, generator=generator)
    forecast_picture(made, history, folder / f"{name}-forecast.png", title=f"{name}: {horizon} steps ahead")
    changed = series[:300].copy()
    changed[200] += 2 * scaling.scale
    title = f"{name}: two standard deviations added at step 200"
    surprise_picture(surprise(model, changed, scaling), changed, folder / f"{name}-surprise.png", title=title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["mackey-glass", "lorenz", "ar1"])
    parser.add_argument("--outputs", nargs="+", default=["full", "mixture"], choices=OUTPUTS)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--updates", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.data:
        data = load(name)
        scaling = Scaling.fit(tuple(data.details["columns"]), [part.values for part in data.train])
        print(f"\n{name}: {data.details['split']}; test")
        print(
            f"{'':<22}{'nats/step':>18}  {'rmse [training sd]':>18}  {'crps [training sd]':>18}"
            f"  {'% in 90%':>18}"
        )
        baselines = fit_baselines(data.train, data.valid, scaling)
        scores = {
            f"{label} {fitted.order}" if label == "var" else label: evaluate_series(
                fitted, data.test, scaling
            )
            for label, fitted in baselines.items()
        }
        for label, found in scores.items():
            print(row(label, found), flush=True)
        if name == "ar1":
            entropy = 0.5 * math.log(2 * math.pi * math.e)
            print(f"{'entropy':<22}{-entropy:9.4f}")
        strongest = max(found["log_likelihood"].value for found in scores.values())
        smallest = min(found["rmse"].value for found in scores.values())
        for output in options.outputs:
            for seed in range(options.seeds):
                begin = time.process_time()
                model = train(data, scaling, output, options.hidden, options.updates, seed)
                seconds = time.process_time() - begin
                found = evaluate_series(model, data.test, scaling)
                print(f"{row(f'RNN, {output}, seed {seed}', found)}  {seconds:.0f} s of CPU")
                gain = found["log_likelihood"].value - strongest
                ratio = smallest / found["rmse"].value
                print(
                    f"{'':<22}{gain:+.4f} nats/step and {ratio:.2f} times less error than the better baseline"
                )
            if options.pictures and output == options.outputs[0]:
                draw(options.pictures, name, model, data, scaling)


if __name__ == "__main__":
    main()
