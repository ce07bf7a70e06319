import os
import random
import string
from urllib.parse import quote

import pytest

from ostinato.addresses import addresses_in, database_url, scrubbed, secrets_in, without_password
from ostinato.errors import UserError

# Each with the password S3cr*t somewhere, as users write and mistype it.
FORMS = (
    "postgresql://me:{}@host/x",
    "postgresql://me:{}@host:5432/x?sslmode=require",
    "postgres://:{}@/x?host=/var/run",
    "postgresql+psycopg://me:{}@[::1]:5432,other/x",
    "postgresql://host/x?user=me&password={}",
    "postgresql://host/x?password={}&user=me",
    "postgresql://host/x?PASSWORD={}",
    "postgresql://host/x?pass%77ord={}",
    "postgresql://host/x?sslpassword={}&user=me",
    "postgresql://host/x?oauth_client_secret={}",
    "postgresql://host/x?{}",
    "postgresql://host/x?dbname=password%3D{}",
    "postgresql://host/password={}",
    "postgresql://me:{}@ho@st/x",
    "postgresql://me:{}/x@host/y",
    "postgresql://me:a:{}@host",
    "postgresql://me:1/{}@host/x",
    "postgresql://me:?{}@host/x",
    "postgresql://me:#{}@host/x",
    "postgresql://host/x#password={}",
    "postgresql:/me:{}@host/x",
    "mysql://me:{}@host/x",
    "me:{}@host",
)


@pytest.mark.parametrize("form", FORMS)
def test_a_password_is_never_shown(form):
    url = form.format("S3cr*t")
    assert "S3cr" not in without_password(url)
    try:
        assert database_url(url)
    except UserError as error:
        text = str(error)
    else:
        text = f"could not connect to {url}"
    assert "S3cr" not in scrubbed(text, url)


def test_whatever_signs_a_password_has_it_is_not_shown():
    rng = random.Random(0)
    for _ in range(2000):
        password = "".join(rng.choices(string.printable[:95], k=12))
        for form in (f"postgresql://me:{password}@host/x", f"postgresql://h/x?user=me&password={password}"):
            shown = without_password(form)
            # any four signs of it in a row, which are not part of the rest
            parts = {password[k : k + 4] for k in range(9)}
            assert not [part for part in parts if part in shown and part not in form.replace(password, "")]


def test_what_is_no_secret_is_kept():
    for url in (
        "postgresql://me@host/x",
        "postgresql://host:5433/x?sslmode=require&application_name=a",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql://me@[::1]:5432,other:5433/x?target_session_attrs=read-write",
    ):
        assert without_password(url) == url
        assert not secrets_in(url)


def test_secrets_are_known_as_written_and_as_meant():
    word = "a b/@é"
    assert {quote(word, safe=""), word} <= secrets_in(f"postgresql://me:{quote(word, safe='')}@host/x")
    assert addresses_in(["search", "--storage=postgres://a:b@c/d", "x"]) == ["postgres://a:b@c/d"]


def test_the_process_shows_no_password(in_a_process):
    code = """
        import sys
        from pathlib import Path
        from ostinato.addresses import secrets_in
        from ostinato.cli.process import hide_arguments
        hide_arguments(secrets_in(sys.argv[1]))
        print(sys.argv[1], Path("/proc/self/cmdline").read_bytes())
    """
    if not os.path.exists("/proc/self/cmdline"):
        pytest.skip("no /proc")
    with in_a_process(code, "postgresql://me:S3cr-t@host/x") as other:
        given, title = other.communicate()[0].split(maxsplit=1)
    assert given == "postgresql://me:S3cr-t@host/x"
    assert "S3cr" not in title
    assert "//me:xxxxxx@host/x" in title
