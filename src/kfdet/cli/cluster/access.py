"""Where Kubeflow Pipelines is and what opens it. Secrets come from the environment or a file only."""

from __future__ import annotations

import argparse
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from kfdet.errors import UsageError
from kfdet.schema.cluster_config import ClusterConfig

HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"
UI_VARIABLE = "KF_PIPELINES_UI_ENDPOINT"
TOKEN_VARIABLE = "KFDET_KFP_TOKEN"  # noqa: S105 the name of a variable
TOKEN_FILE_VARIABLE = "KFDET_KFP_TOKEN_FILE"  # noqa: S105 the name of a variable
COOKIES_VARIABLE = "KFDET_KFP_COOKIES"
CA_VARIABLE = "KFDET_KFP_CA_CERT"
CONTEXT_VARIABLE = "KFDET_KFP_KUBE_CONTEXT"
SERVICE_ACCOUNT_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 the name of a variable
_SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 a path
_LATIN_1 = 0xFF
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Attributes:
    host: Address with its scheme and no slash at the end; null: the SDK finds it, inside the
        cluster or through kubectl's configuration.
    ui: Address of the user interface, for links.
    service_account_token: A token that the cluster has put into this pod.
    """

    host: str | None
    ui: str | None
    namespace: str | None
    token: str | None = field(default=None, repr=False)
    cookies: str | None = field(default=None, repr=False)
    service_account_token: Path | None = None
    ca_cert: str | None = None
    kube_context: str | None = None

    @property
    def shown(self) -> str:
        """The address for messages."""
        return self.host or "Kubeflow Pipelines as kubectl's configuration says"

    def without_secrets(self, text: str) -> str:
        """Returns a text in which no secret stands."""
        for secret in (self.token, self.cookies):
            if secret:
                text = text.replace(secret, "***")
        return text


def access_from(
    arguments: argparse.Namespace,
    cluster: ClusterConfig | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Access:
    """Returns the access that options, environment and configuration say, in this order.

    Raises:
        UsageError: No address is known, or it holds a password; a file of a secret is unreadable.
    """
    given = os.environ if environment is None else environment
    address = arguments.host or given.get(HOST_VARIABLE) or (cluster.host if cluster else None)
    host = _address(address) if address else None
    if host is None and not _sdk_finds_it(given):
        raise UsageError(
            "no address of Kubeflow Pipelines is known",
            expected=f"--host, {HOST_VARIABLE}, or cluster.host in the run configuration",
            remedy="For a cluster that kubectl reaches: kubectl port-forward -n kubeflow "
            "svc/ml-pipeline-ui 8080:80, and --host http://localhost:8080.",
        )
    ui = given.get(UI_VARIABLE)
    return Access(
        host=host,
        ui=_address(ui) if ui else host,
        namespace=arguments.namespace or (cluster.namespace if cluster else None),
        token=_token(given),
        cookies=_cookies(given),
        service_account_token=_service_account_token(given),
        ca_cert=given.get(CA_VARIABLE) or None,
        kube_context=given.get(CONTEXT_VARIABLE) or None,
    )


def _address(text: str) -> str:
    """Returns an address as the client takes it; a link copied out of a browser will do."""
    if "://" not in text:
        name = text.split("/")[0].rsplit(":", 1)[0]
        text = f"{'http' if name in _LOOPBACK else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as failure:
        raise _no_address(text) from failure
    if parts.username or parts.password:
        raise UsageError(
            "the address holds a user or a password",
            where=f"{parts.scheme}://…@{parts.hostname}",
            remedy=f"Put a token into {TOKEN_VARIABLE} or a cookie into {COOKIES_VARIABLE}.",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_address(text)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _no_address(text: str) -> UsageError:
    shown = f"…@{text.rpartition('@')[2]}" if "@" in text else text
    return UsageError("is no address", where=shown, expected="https://kubeflow.example/pipeline")


def _sdk_finds_it(environment: Mapping[str, str]) -> bool:
    if "KUBERNETES_SERVICE_HOST" in environment:
        return True
    default = str(Path.home() / ".kube" / "config")
    files = environment.get("KUBECONFIG", default).split(os.pathsep)
    return any(Path(file).is_file() for file in files if file)


def _token(environment: Mapping[str, str]) -> str | None:
    token = environment.get(TOKEN_VARIABLE, "").strip()
    file = environment.get(TOKEN_FILE_VARIABLE)
    if not token and file:
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as failure:
            reason = getattr(failure, "strerror", None) or "it is no text"
            raise UsageError(
                f"can't read the token: {reason}", where=f"{TOKEN_FILE_VARIABLE} {file}"
            ) from failure
    if any(character.isspace() for character in token):
        raise UsageError("the token holds white space", where=TOKEN_VARIABLE)
    _check_header(token, where=TOKEN_VARIABLE)
    return token or None


def _cookies(environment: Mapping[str, str]) -> str | None:
    cookies = environment.get(COOKIES_VARIABLE, "").strip()
    _check_header(cookies, where=COOKIES_VARIABLE)
    return cookies or None


def _check_header(secret: str, *, where: str) -> None:
    """Refuses what no HTTP header can carry; the client would print it with its complaint."""
    for index, character in enumerate(secret):
        if unicodedata.category(character) == "Cc" or ord(character) > _LATIN_1:
            raise UsageError(
                f"character {index + 1} can't be sent in an HTTP header",
                where=where,
                expected="Latin-1 without control characters",
            )


def _service_account_token(environment: Mapping[str, str]) -> Path | None:
    path = Path(environment.get(SERVICE_ACCOUNT_TOKEN_VARIABLE, _SERVICE_ACCOUNT_TOKEN))
    return path if path.is_file() else None
