"""The client of Kubeflow Pipelines, with every failure in words."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from kfdet.cli.cluster.access import COOKIES_VARIABLE, TOKEN_VARIABLE, Access
from kfdet.errors import ClusterError, UsageError

try:
    import kfp.client
    import kfp_server_api  # type: ignore[import-untyped]
    import urllib3
    from kfp.client import set_volume_credentials
    from kfp_server_api import ApiException
except ModuleNotFoundError as missing:
    raise UsageError(
        f"the package {missing.name} is not installed", remedy='pip install "kfdet[kfp]"'
    ) from missing

# Seconds to connect, and to wait for an answer.
TIMEOUT_S = (10, 60)
_PAGE = 100
# Request timed out; too many requests.
_OVERLOADED = (408, 429)
_EQUALS = "EQUALS"


class Unreachable(ClusterError):
    """Nobody answered, or the server was overloaded: worth asking again."""


class _Client(kfp.client.Client):  # type: ignore[misc]
    """The SDK's client. It asks for health five times with pauses and tracebacks; this one once."""

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:  # noqa: ARG002 the SDK's signature
        try:
            response = self.healthzs.healthz_service_get_healthz(
                _preload_content=False, _request_timeout=TIMEOUT_S
            )
        except ApiException as failure:
            if failure.status == 404:
                raise _OtherApi(older=self._speaks_v1beta1()) from failure
            raise
        many_users = bool(_json_of(response).get("multi_user"))
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=many_users)

    def _speaks_v1beta1(self) -> bool:
        try:
            _json_of(self.raw("/apis/v1beta1/healthz", {}))
        except (_NotJson, ApiException, urllib3.exceptions.HTTPError):
            return False
        return True

    def check_answers(self) -> None:
        """Has answers refused that are no JSON object; the SDK makes empty models of them."""
        client = self._run_api.api_client
        deserialize = client.deserialize

        def checked(response: Any, kind: Any) -> Any:
            _json_of(response)
            return deserialize(response, kind)

        client.deserialize = checked

    def raw(self, path: str, query: dict[str, str]) -> Any:
        """Returns the response to a GET that the SDK has no method for."""
        return self._run_api.api_client.call_api(
            path,
            "GET",
            query_params=list(query.items()),
            header_params={"Accept": "text/plain"},
            auth_settings=["Bearer"],
            _preload_content=False,
            _request_timeout=TIMEOUT_S,
        )


class _NotJson(Exception):
    pass


class _OtherApi(Exception):
    """There is no API v2beta1 at the address.

    Args:
        older: There is v1beta1.
    """

    def __init__(self, *, older: bool) -> None:
        super().__init__()
        self.older = older


def _json_of(response: Any) -> dict[str, Any]:
    try:
        data = json.loads(response.data)
    except ValueError:
        raise _NotJson from None
    if not isinstance(data, dict):
        raise _NotJson
    return data


class Connection:
    """Attributes:
    models: The API's models.
    api: The SDK's client; its generated calls lie under `runs`, `experiments` and so on.
    namespace: The user's, on an installation for many users; else null.
    kept_specs: Compiled pipelines that were asked for, by their version.
    """

    def __init__(self, access: Access) -> None:
        """Connects and asks the server which API it speaks.

        Raises:
            ClusterError: It can't be reached, refuses, or is no Kubeflow Pipelines 2.
        """
        self.access = access
        self.kept_specs: dict[str, Any] = {}
        self.models: Any = kfp_server_api.models
        with self.explained("Kubeflow Pipelines"), _silent():
            self.api = _Client(
                host=access.host,
                existing_token=access.token,
                cookies=access.cookies,
                ssl_ca_cert=access.ca_cert,
                kube_context=access.kube_context,
                credentials=_service_account(access),
            )
            self.api.check_answers()
            many_users = bool(self.api.get_kfp_healthz().multi_user)
        self.namespace = access.namespace or (self.api.get_user_namespace() or None)
        if many_users and not self.namespace:
            raise ClusterError(
                "serves many users, each with a namespace",
                where=access.shown,
                remedy="Name yours with --namespace, or as cluster.namespace in the configuration.",
            )
        if not many_users:
            self.namespace = None

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turns a failure of the client into a sentence.

        Args:
            what: What is asked for, as the subject of "does not exist".
        """
        try:
            yield
        except ApiException as failure:
            raise self._refusal(failure, what) from failure
        except _OtherApi as failure:
            raise self._other_api(older=failure.older) from failure
        except urllib3.exceptions.HTTPError as failure:
            raise self._unreachable(failure) from failure
        except _NotJson as failure:
            raise ClusterError(
                "answers with a page instead of data, as a login does",
                where=self.access.shown,
                remedy=f"Put a token into {TOKEN_VARIABLE} or the session's cookies into "
                f"{COOKIES_VARIABLE}.",
            ) from failure

    def check_answer(self, answer: Any, field: str) -> None:
        """Refuses an answer that is JSON of something else.

        Raises:
            ClusterError: The field is missing.
        """
        if not getattr(answer, field):
            raise ClusterError(
                "answers with something that is not of Kubeflow Pipelines",
                where=self.access.shown,
                expected=f"a {field}",
                remedy="Check the address, and what stands between here and the server.",
            )

    def _other_api(self, *, older: bool) -> ClusterError:
        if older:
            return ClusterError(
                "speaks the API v1beta1 alone",
                where=self.access.shown,
                expected="v2beta1, as Kubeflow Pipelines 2.0 and later do",
                remedy="kfdet needs Kubeflow Pipelines 2.5 or later.",
            )
        return ClusterError(
            "answers, and is no Kubeflow Pipelines: it has no /apis/v2beta1/healthz",
            where=self.access.shown,
            remedy="Check the address; behind a gateway it often ends in /pipeline.",
        )

    def _refusal(self, failure: Any, what: str) -> ClusterError:
        said = self.access.without_secrets(_message(failure.body) or str(failure.reason))
        where = self.access.shown
        if failure.status == 401:
            known = bool(self.access.token or self.access.cookies)
            return ClusterError(
                f"not authenticated: {said}",
                where=where,
                remedy=f"The token or cookie is {'wrong or has expired' if known else 'missing'}: "
                f"put one into {TOKEN_VARIABLE} or {COOKIES_VARIABLE}.",
            )
        if failure.status == 403:
            return ClusterError(
                f"not authorised: {said}",
                where=where,
                remedy="Ask for the role kubeflow-edit in the namespace, or use another account.",
            )
        if failure.status == 404:
            return ClusterError(f"{what} does not exist: {said}", where=where)
        if failure.status == 409:
            return ClusterError(f"{what} exists already: {said}", where=where)
        if failure.status in _OVERLOADED or failure.status >= 500:
            return Unreachable(
                f"the server failed with {failure.status}: {said}",
                where=where,
                remedy="Try again; if it stays so, its own log says more.",
            )
        return ClusterError(f"refused {what} with {failure.status}: {said}", where=where)

    def _unreachable(self, failure: Exception) -> Unreachable:
        reason: Any = getattr(failure, "reason", None) or failure
        text = str(reason)
        remedy = "Check the address, and that a port-forward still runs."
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text:
            text = "its TLS certificate is not trusted"
            remedy = "Name the certificate of its authority in KFDET_KFP_CA_CERT."
        elif "Name or service not known" in text or "name resolution" in text:
            text = "there is no host of that name"
        elif "Connection refused" in text:
            text = "nobody listens there"
        elif "timed out" in text:
            text = "it does not answer in time"
        else:
            text = text.rpartition(">: ")[2].rpartition("): ")[2] or text
        return Unreachable(
            f"can't be reached: {self.access.without_secrets(text)}",
            where=self.access.shown,
            remedy=remedy,
        )

    def link(self, kind: str, identity: str) -> str | None:
        """Returns the address of a run or a recurring run in the user interface, where known."""
        return f"{self.access.ui}/#/{kind}/details/{identity}" if self.access.ui else None


def filter_by_name(name: str) -> str:
    """Returns the API's filter for one display name."""
    predicate = {"operation": _EQUALS, "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def every(call: Any, entries: str, *, limit: int | None = None, **options: Any) -> list[Any]:
    """Returns the entries of a paged list.

    Args:
        call: The generated call.
        entries: Attribute of its response that holds them.
        limit: How many are wanted; null for all.
        **options: Of the call.
    """
    found: list[Any] = []
    token = ""
    while True:
        size = _PAGE if limit is None else min(_PAGE, limit - len(found))
        page = call(page_token=token, page_size=size, _request_timeout=TIMEOUT_S, **options)
        found += getattr(page, entries) or []
        token = page.next_page_token or ""
        if not token or (limit is not None and len(found) >= limit):
            return found


def _message(body: Any) -> str:
    try:
        data = json.loads(body)
    except (TypeError, ValueError):
        return ""
    if not isinstance(data, dict):
        return " ".join(str(data or "").split())[:600]
    said = data.get("message") or data.get("error") or data.get("error_message") or ""
    return " ".join(str(said).split())[:600]


def _service_account(access: Access) -> Any:
    if access.token or access.service_account_token is None:
        return None
    return set_volume_credentials.ServiceAccountTokenVolumeCredentials(
        path=str(access.service_account_token)
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps the SDK's warnings away, and what it prints off the standard output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield
