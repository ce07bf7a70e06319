"""Mistakes name options as they were typed, and never touch values and file names."""

import pytest


@pytest.fixture
def mistake(ostinato):
    """mistake(*arguments): the one line of a mistake."""

    def call(*arguments: object) -> str:
        code, out, err = ostinato(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err.removeprefix("ostinato: ").strip()

    return call


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        # the library's own mistakes
        (
            "train --recipe SGD+L --leak-low 0.5 --leak-high 0.2",
            "expected --leak-low <= --leak-high, found 0.5",
        ),
        ("train --dropout 0.3", "--dropout acts between layers, found one layer; set --num-layers to 2"),
        ("train --output softmax", "--output softmax does not fit music"),
        ("train --recipe HF --clip 1", "--clip is for --optimizer "),
        ("train --learning-rate -1", "expected --learning-rate above 0, found -1"),
        ("train --learning_rate -1", "expected --learning_rate above 0, found -1"),
        ("train words --direct 5", "expected --direct of at least 20000 weights, twice --vocabulary-size"),
        ("train --frames-per-beat 60", "expected --frames-per-beat in [1, 48], found 60"),
        ("search --trials 0", "expected --trials of at least 1, found 0"),
        ("evaluate --baselines --frames-per-beat 60", "expected --frames-per-beat in [1, 48], found 60"),
        ("evaluate --baselines --data jsb --no-transpose", "leave --no-transpose out"),
        # a value that is also the name of an option
        ("train --data seed", "expected a data set or a path, found 'seed'"),
        # cyclopts' own
        ("train --learnig-rate 1", "unknown option --learnig-rate: did you mean --learning-rate"),
        ("train --zzz", "unknown option --zzz; see ostinato train --help"),
        ("train --epochs abc", "expected --epochs to be a whole number, found 'abc'"),
        ("train --epochs 2.5", "expected --epochs to be a whole number, found 2.5"),
        ("search --trials 1.5", "expected --trials to be a whole number, found 1.5"),
        ("train --frames-per-beat 1.5", "expected --frames-per-beat to be a whole number or auto, found 1.5"),
        (
            "train --clip often",
            "expected --clip to be a number, auto, average, quantile or none, found 'often'",
        ),
        ("train --epochs", "expected a value after --epochs, found none; see ostinato train --help"),
        ("train --epochs 3 --epochs 4", "expected --epochs once, found it twice; leave one out"),
        ("train -q -q", "expected -q once, found it twice"),
        ("train --transpose=maybe", "expected --transpose to be yes or no, found 'maybe'"),
        (
            "train musik",
            "unknown DOMAIN 'musik': did you mean music?",
        ),
        ("train music words", "expected no further argument, found words; see ostinato train --help"),
        ("train --output nad", "unknown --output 'nad': did you mean nade?"),
        ("generate", "expected RUN after ostinato generate, found none; see ostinato generate --help"),
        ("harmonize a b", "expected a run folder at a, found nothing there"),
        ("train --optimizer adm", "unknown --optimizer 'adm': did you mean adam or adamw? (any optimizer of"),
        ("train --optimizer sparseadam", "sparseadam cannot train here: it takes sparse gradients only"),
        ("train --optimizer-settings beta=3", "--optimizer-settings is for --optimizer adam"),
        (
            "train --optimizer adam --optimizer-settings betas=3",
            "expected settings of adam like betas = [0.9, 0.999], found betas = 3",
        ),
        ("train --learning-rate 0", "expected --learning-rate above 0, found 0"),
        ("train --learning-rate nan", "expected --learning-rate to be a finite number above 0, found nan"),
        ("train --epochs 0", "expected --epochs in [1, 1000000], found 0"),
        ("train --data no.mid", "found 'no.mid': no such file; known: "),
        ("train series --data no.csv", "found 'no.csv': no such file; known: "),
        ("train words --data no.txt", "found 'no.txt': no such file; known: "),
        ("data show no.csv", "found 'no.csv': no such file; known: "),
        ("reproduce table1 --rows", "expected a value after --rows, found none"),
        ("tain", "unknown command tain: did you mean train?"),
        ("data lst", "unknown command lst: did you mean list?"),
        ("generate-text run", "unknown command generate-text: did you mean generate?"),
    ],
)
def test_one_clear_line(mistake, arguments, line) -> None:
    assert line in mistake(*arguments.split())


def test_a_whole_number_with_a_point_is_understood(ostinato) -> None:
    code, _, err = ostinato("train", "--epochs", "2.0", "--data", "nowhere")
    assert code == 2
    assert "expected a data set" in err


def test_a_setting_from_a_file_is_called_as_the_file_calls_it(mistake, tmp_path) -> None:
    (tmp_path / "leak_low.toml").write_text("leak_low = 0.5\n")
    line = mistake("train", "--config", "leak_low.toml", "--leak-high", "0.3")
    assert line == "expected leak_low <= --leak-high, found 0.5 > 0.3; swap them"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("leak_high = 0.01\n")
    assert "expected leak_low <= leak_high" in mistake("train", "--resume", "run")
    (tmp_path / "bad.toml").write_text("seed = -1\n")
    assert mistake("train", "--config", "bad.toml") == "expected seed in [0, 4294967295], found -1"


def test_one_command_s_options_are_forgotten_before_the_next(ostinato) -> None:
    from ostinato.cli.spelling import spelled
    from ostinato.errors import argument

    ostinato("train", "--learning-rate", "-1")
    assert spelled(argument("learning_rate")) == "--learning-rate"
    ostinato("--version")
    assert spelled(argument("learning_rate")) == "learning_rate"
