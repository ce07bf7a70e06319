"""The page: what is on it, that names stay names, and that it is small."""

import base64
import html.parser
import io
import itertools
import json
import re
import wave

import pytest

from ostinato.domains.music.samples import affordable
from ostinato.report import samples
from ostinato.report.page import compose, render
from ostinato.report.records import read_records

HOSTILE = "</script><img src=x onerror=alert(1)>"


class Outline(html.parser.HTMLParser):
    """Elements with their attributes, headings and references to ids."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def page_of(*folders):
    runs, studies = read_records(folders)
    return render(compose(runs, studies, command="ostinato report x", version="1"))


def test_a_trained_run_with_music(ostinato, trained, tmp_path):
    out = tmp_path / "page.html"
    code, printed, err = ostinato("report", tmp_path / "run", "--out", out, "--samples", "2")
    assert (code, err) == (0, "")
    assert printed.startswith(f"{out}: ")
    page = out.read_text(encoding="utf-8")
    assert len(page.encode()) < 8_000_000
    outline = Outline(page)
    sounds = [a["src"] for a in outline.all("audio")]
    assert len(sounds) == len(set(sounds)) == 2
    with wave.open(io.BytesIO(base64.b64decode(sounds[0].removeprefix("data:audio/wav;base64,")))) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
        assert sound.getnframes() / sound.getframerate() > 2
    assert trained["training"]["environment"]["torch"] in page
    assert "Piano-roll of" in page
    ostinato("report", tmp_path / "run", "--out", tmp_path / "again.html", "--samples", "2")
    again = Outline((tmp_path / "again.html").read_text(encoding="utf-8"))
    assert [a["src"] for a in again.all("audio")] == sounds
    ostinato("report", tmp_path / "run", "--out", out, "--samples", "0")
    assert "<audio" not in out.read_text(encoding="utf-8")


def test_a_run_of_text_shows_text(ostinato, tmp_path):
    (tmp_path / "some.txt").write_text("the cat saw a bird\na dog saw the cat\n" * 60)
    small = ("--hidden-size", "8", "--streams", "4", "--segment-length", "10", "--epochs", "1", "--quiet")
    code, _, err = ostinato("train", "words", "--data", "some.txt", "--run", "r", *small)
    assert code == 0, err
    assert ostinato("report", "r")[0] == 0
    text = re.search(r'<pre class="text".*?>(.*?)</pre>', (tmp_path / "report.html").read_text(), re.DOTALL)
    assert set(text[1].split()) <= {"the", "cat", "saw", "a", "bird", "dog"}
    assert len(text[1].split()) > 20


def test_nothing_of_the_page_is_elsewhere(make_run, make_study):
    outline = Outline(page_of(make_run(), make_study()))
    for name in ("src", "href"):
        for _, attributes in outline.elements:
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert not [a for a in outline.all("link") if a.get("rel") != "icon"]


def test_headings_are_in_order_and_references_lead_somewhere(make_run, make_study):
    outline = Outline(page_of(make_run(), make_run("other", data="bach"), make_study()))
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = [a[n] for _, a in outline.elements for n in ("aria-labelledby", "aria-describedby") if n in a]
    wanted += [a["href"][1:] for a in outline.all("a")]
    assert set(wanted) <= set(ids)


def test_a_study_has_its_charts_and_trials(make_study):
    page = page_of(make_study())
    for title in ("Course of the search", "Importance of the settings", "Settings that went together"):
        assert f"<h4>{title}</h4>" in page
    assert "Chosen: trial 17" in page
    assert "All 25 trials" in page
    keys = {a["id"] for a in Outline(page).all("div") if a.get("class") == "chart"}
    text = re.search(r'id="charts">(.*?)</script>', page, re.DOTALL)[1]
    assert {chart["id"] for chart in json.loads(text)} == keys
    assert len(keys) == 5


def test_hostile_names_are_only_names(make_run, make_study):
    run = make_run("<img src=x onerror=alert(2)>", data=HOSTILE, recipe=HOSTILE)
    study = make_study(choice=HOSTILE, name="&lt;i&gt;")
    page = page_of(run, study)
    outline = Outline(page)
    assert not outline.all("img")
    assert len(outline.all("script")) == page.count("</script>") == 3
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected folders"),
        (("nowhere",), "nothing there"),
        (("run", "--samples", "-1"), "--samples of 0 to 20"),
        (("run", "--out", "no/such/page.html"), "found none at"),
        (("run", "--out", "."), "expected a file for --out"),
        (("run", "--seed", "-1"), "expected --seed of 0"),
    ],
)
def test_mistakes_are_one_line(ostinato, trained, arguments, message):
    code, out, err = ostinato("report", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_many_pieces_share_the_room(make_run):
    for count in (1, 3, 8, samples.MOST_PIECES):
        frames, rate = affordable(32, 0.5, samples.MOST_BYTES // count)
        assert 2 * rate * (frames * 0.5 + 0.12) * count <= samples.MOST_BYTES
        assert frames * 0.5 >= 2.5
