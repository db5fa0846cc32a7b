"""Who may use the page: nobody from elsewhere unless it was opened, and then only with the token. Pure but for the
token's file."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ConfigError

TOKEN_FILE = "~/.config/action_images/console_token"
COOKIE = "action_images_console"
_LOCAL_NAMES = {"localhost", "ip6-localhost"}


def is_local(host: str) -> bool:
    """Whether a bind address or host name is this machine only."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hostname(value: str) -> str:
    """Of a Host header or an Origin: lower case, without port and brackets; "" where it cannot be read."""
    try:
        return (urlsplit(value if "//" in value else f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


def same_host(origin: str | None, host: str | None) -> bool:
    """Whether a request was made by a page of the host that it asks; a request without Origin is no page's."""
    return not origin or (origin != "null" and hostname(origin) == hostname(host or ""))


def read_token(file: str) -> str:
    """The token in a file that only its owner can read; made where there is none. Raises ConfigError."""
    path = Path(file).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
                made.write(secrets.token_urlsafe(24) + "\n")
        except FileExistsError:
            pass
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"token file {path} can be read by others; run: chmod 600 {path}")
        token = path.read_text(encoding="utf-8").strip()
    except OSError as e:
        raise ConfigError(f"token file {path}: {e.strerror}; name another one (token_file)") from e
    if len(token) < 16:
        raise ConfigError(f"token file {path} holds {len(token)} characters, less than 16; delete it for a new one")
    return token


class Gate:
    """Decides on requests. token "": the page is bound to this machine and needs none."""

    def __init__(self, token: str) -> None:
        self.token = token

    def refusal(self, host: str | None, origin: str | None, shown: tuple[str | None, ...]) -> str:
        """ "" where the request may pass. shown: tokens of its query and its cookie."""
        if not same_host(origin, host):
            return "this request comes from another site"
        if self.token:
            known = any(hmac.compare_digest(s.encode(), self.token.encode()) for s in shown if s)
            return "" if known else "the token is missing or wrong: open the address that the console printed"
        return "" if is_local(hostname(host or "")) else "the console is bound to this machine: open it as localhost"
