"""A database that asks for a password, and is gone for 90 seconds: nothing shows the one, work goes on."""

import time
from pathlib import Path
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.long

PASSWORD = "S3cr*t pä$$"
# As it is typed, as an address has it, and what of it stands alone in neither.
SHOWN = (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD, safe="*$"), "S3cr", "cr*t")
OUTAGE_SECONDS = 90


def shows(data: bytes) -> list[str]:
    """The forms of the password that are in it."""
    return [form for form in SHOWN if form.encode() in data]


def assert_hidden(place: Path, *texts: str) -> None:
    """The password is in no file below a folder, and in none of these texts."""
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert {path: found for path in files if (found := shows(path.read_bytes()))} == {}
    assert [found for text in texts if (found := shows(text.encode()))] == []


def command_line(process) -> bytes:
    """What everybody sees of a process."""
    return Path(f"/proc/{process.pid}/cmdline").read_bytes()


def test_no_form_of_an_address_shows_its_password(guarded, ostinato, small, tmp_path, monkeypatch):
    server, secret = guarded(PASSWORD), quote(PASSWORD, safe="")
    forms = {
        "before": f"postgresql://{server.user}:{secret}@{server.place}",
        "among": f"postgresql://{server.place}?user={server.user}&password={secret}",
        "other": f"postgres://{server.place}?password={secret}&user={server.user}&application_name=x",
        "apart": f"postgresql://{server.user}@{server.place}",
    }
    said = []
    for name, url in forms.items():
        if name == "apart":
            monkeypatch.setenv("PGPASSWORD", PASSWORD)
        code, out, err = ostinato("search", *small(2, 1), "--study", tmp_path / name, "--storage", url)
        assert code == 0, err
        page = tmp_path / f"{name}.html"
        code, more, error = ostinato("report", tmp_path / name, "--out", page)
        assert code == 0, error
        said += [out, err, more, error]
        code, out, err = ostinato("search", "--join", tmp_path / name, "--storage", url, "--json")
        assert code == 0, err
        said += [out, err]
        code, out, err = ostinato("check", tmp_path / name)
        said += [out, err]
    monkeypatch.setenv("PGPASSWORD", "")
    for url in (forms["before"], forms["among"]):
        wrong = url.replace(secret, secret + "1")
        code, out, err = ostinato("search", "--join", "before", "--storage", wrong)
        assert (code, err.count("\n")) == (2, 1)
        assert "password authentication failed" in err
        said += [out, err]
    assert_hidden(tmp_path, *said)


def test_an_outage_of_90_seconds_is_waited_out(
    guarded, ostinato, small, started, in_training, tmp_path, trials_of
):
    server = guarded(PASSWORD)
    url = f"postgresql://{server.user}:{quote(PASSWORD, safe='')}@{server.place}"
    folder = tmp_path / "work" / "away"
    arguments = small(3, 300)
    worker = started(*arguments, "--study", folder, "--storage", url, "--checkpoint-seconds", "0.5")
    in_training(folder, worker)
    assert shows(command_line(worker)) == []
    server.stop()
    time.sleep(OUTAGE_SECONDS)
    assert worker.poll() is None, worker.stdout.read()
    server.start()
    assert worker.wait(timeout=180) == 0, worker.stdout.read()
    said = worker.stdout.read()
    line = next(line for line in said.splitlines() if "the database fails" in line)
    # which of them depends on whether it was just asked
    assert any(why in line for why in ("refused", "closed the connection", "shut")), line
    assert "it is tried again, for 600 seconds at most" in line

    assert [(t["number"], t["state"]) for t in trials_of(folder)] == [(n, "complete") for n in range(3)]
    code, _, err = ostinato("search", *arguments, "--study", tmp_path / "alone" / "away", "--quiet")
    assert code == 0, err
    assert trials_of(folder) == trials_of(tmp_path / "alone" / "away")
    assert_hidden(tmp_path, said)
