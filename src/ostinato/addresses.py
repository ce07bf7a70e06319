"""Addresses of databases: as SQLAlchemy takes them, and without what is secret, as they may be shown.

An address may have a password before the host, `postgresql://me:secret@host/studies`, or among its
parameters, `postgresql://host/studies?user=me&password=secret`. An address that cannot be read for sure is
not shown at all: a password with a slash in it would stand where a database's name does.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus

from ostinato.errors import UserError, argument

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
HIDDEN = "..."

_HOST = r"(?:\[[0-9a-fA-F:.]*\]|[\w.%-]*)(?::\d*)?"
# user:password@hosts:ports/database?parameters, each without the signs that end it.
_ADDRESS = re.compile(
    r"(?P<scheme>[a-z+]+)://"
    r"(?:(?P<user>[^:/?#@]*)(?::(?P<password>[^/?#@]*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?P<database>/[^/?#@:=]*)?"
    r"(?:\?(?P<parameters>[^?#@]*))?"
)
# Parameters of a connection that are no secret, by libpq's names; any other may be one.
_SHOWN = frozenset(
    re.findall(
        r"\w+",
        """application_name channel_binding connect_timeout dbname fallback_application_name gssencmode gsslib
        host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval load_balance_hosts
        options passfile port require_auth requirepeer service servicefile sslcert sslcompression sslcrl
        sslcrldir sslkey sslmode sslrootcert target_session_attrs tcp_user_timeout user""",
    )
)
# Shorter parts of an address that cannot be read are left in messages: there would be little else.
_LEAST = 3


def database_url(url: str) -> str:
    """The URL as SQLAlchemy takes it, for psycopg.

    Raises:
        UserError: it is not one of PostgreSQL.

    Example:
        >>> database_url("postgresql://me@db.example.org/studies")
        'postgresql+psycopg://me@db.example.org/studies'
    """
    scheme, colon, rest = url.partition("://")
    if scheme not in SCHEMES or not colon or not rest:
        raise UserError(
            f"expected {argument('storage')} postgresql://USER@HOST/DATABASE, found {without_password(url)}"
        )
    if _ADDRESS.fullmatch(url) is None:
        raise UserError(
            f"expected {argument('storage')} postgresql://USER@HOST/DATABASE, found another form of address "
            f"({without_password(url)}); write signs such as / @ : ? in a name or a password as %2F %40 %3A "
            "%3F, or leave the password to PGPASSWORD or ~/.pgpass"
        )
    return f"postgresql+psycopg://{rest}"


def without_password(url: str) -> str:
    """The URL as it may be shown and kept.

    Example:
        >>> without_password("postgresql://me:secret@db.example.org/studies")
        'postgresql://me@db.example.org/studies'
        >>> without_password("postgresql://db.example.org/studies?user=me&password=secret&sslmode=require")
        'postgresql://db.example.org/studies?user=me&sslmode=require'
        >>> without_password("postgresql://me:sec/ret@db.example.org/studies")
        'postgresql://...'
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        scheme = url.partition("://")[0]
        return f"{scheme}://{HIDDEN}" if scheme in SCHEMES else HIDDEN
    user = "" if found["user"] is None else f"{found['user']}@"
    kept = [own for own in (found["parameters"] or "").split("&") if _is_shown(own)]
    parameters = f"?{'&'.join(kept)}" if kept else ""
    return f"{found['scheme']}://{user}{found['hosts']}{found['database'] or ''}{parameters}"


def secrets_in(url: str) -> set[str]:
    """What of a URL nobody is to see, as it is written and as it is meant; of one that cannot be read, all
    parts that might be it.

    Example:
        >>> sorted(secrets_in("postgresql://me:a%40b@host/x?sslpassword=c"))
        ['a%40b', 'a@b', 'c']
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        rest = url.partition("://")[2] or url
        pieces = re.split(r"[:/@?&=#]", rest)
        parts = {rest, rest.partition(":")[2].rpartition("@")[0], *(p for p in pieces if len(p) >= _LEAST)}
    else:
        parts = {found["password"] or ""}
        for own in (found["parameters"] or "").split("&"):
            if not _is_shown(own):
                value = unquote_plus(own.partition("=")[2] or own)
                parts |= {own.partition("=")[2] or own, value.rpartition("=")[2]}
    return {form for part in parts for form in (part, unquote(part), unquote_plus(part)) if form}


def addresses_in(words: Iterable[str]) -> list[str]:
    """The addresses of databases among words, such as a command's.

    Example:
        >>> addresses_in(["--storage=postgresql://me@host/x", "--trials", "3"])
        ['postgresql://me@host/x']
    """
    return [word[found.start() :] for word in words if (found := re.search(r"postgres[a-z+]*:/", word))]


def scrubbed(text: str, url: str) -> str:
    """A text, such as a server's answer, without the secrets of a URL.

    Example:
        >>> scrubbed('invalid value "secret"', "postgresql://me:secret@host/x")
        'invalid value "..."'
    """
    for secret in sorted(secrets_in(url), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _is_shown(parameter: str) -> bool:
    name, equals, value = parameter.partition("=")
    name = unquote_plus(name).strip().lower()
    # libpq takes whole addresses for a database's name
    return bool(equals) and name in _SHOWN and not (name == "dbname" and "=" in unquote_plus(value))
