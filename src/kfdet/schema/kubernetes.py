"""What Kubernetes takes for names, labels, quantities and paths, so that nothing else is sent to it.

Source: the Kubernetes documentation, "Object Names and IDs", "Labels and Selectors", "Quantity" and
"Extended resources", and the validation of k8s.io/apimachinery.
"""

from __future__ import annotations

import posixpath
import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DNS_SUBDOMAIN_CHARACTERS = 253
_LABEL_CHARACTERS = 63
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[KMGT]i|[MGT])?")
_FACTORS = {
    "m": Decimal("0.001"),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGT", start=1)},
}


def amount(quantity: str) -> Decimal:
    """Returns a quantity as a number: bytes of a memory, cores of a CPU.

    Args:
        quantity: Such as `2Gi` or `500m`; a valid one.
    """
    number, suffix = _QUANTITY.fullmatch(quantity).groups()  # type: ignore[union-attr]
    return Decimal(number) * _FACTORS.get(suffix, Decimal(1))


def plain_path(path: str) -> str:
    """Returns an absolute path without `.`, `..` and doubled slashes, by its text alone."""
    # POSIX leaves two slashes at the beginning alone; the kernel takes them for one.
    return f"/{posixpath.normpath(path).lstrip('/')}"


def _object_name(text: str) -> str:
    if len(text) > _DNS_SUBDOMAIN_CHARACTERS or not _DNS_SUBDOMAIN.fullmatch(text):
        raise ValueError(
            "Kubernetes takes lower case letters, digits, hyphens and dots here, 253 at most, each "
            "part between dots beginning and ending with a letter or digit"
        )
    return text


def _namespace(text: str) -> str:
    if len(text) > _LABEL_CHARACTERS or not _DNS_LABEL.fullmatch(text):
        raise ValueError(
            "a namespace has lower case letters, digits and hyphens, 63 at most, and begins and "
            "ends with a letter or digit"
        )
    return text


def _label_key(text: str) -> str:
    domain, slash, name = text.rpartition("/")
    if slash and (len(domain) > _DNS_SUBDOMAIN_CHARACTERS or not _DNS_SUBDOMAIN.fullmatch(domain)):
        raise ValueError(
            "what stands before the slash must be a domain in lower case: example.com/team"
        )
    if len(name) > _LABEL_CHARACTERS or not _NAME_PART.fullmatch(name):
        raise ValueError(
            "a key has letters, digits, hyphens, underscores and dots, 63 at most, begins and ends "
            "with a letter or digit, and may stand behind a domain and a slash: example.com/team"
        )
    return text


def _label_value(text: str) -> str:
    if text and (len(text) > _LABEL_CHARACTERS or not _NAME_PART.fullmatch(text)):
        raise ValueError(
            "a value is empty, or has letters, digits, hyphens, underscores and dots, 63 at most, "
            "and begins and ends with a letter or digit"
        )
    return text


def _extended_resource(text: str) -> str:
    domain, slash, _ = _label_key(text).rpartition("/")
    if not slash or domain == "kubernetes.io" or domain.endswith(".kubernetes.io"):
        raise ValueError(
            "an accelerator's name begins with its maker's domain, as nvidia.com/gpu and "
            "amd.com/gpu do"
        )
    return text


def _more_than_nothing(text: str) -> str:
    if not amount(text):
        raise ValueError("must be more than 0")
    return text


def _secret_key(text: str) -> str:
    if text == "." or text.startswith(".."):
        raise ValueError('a key is not "." and does not begin with ".."')
    return text


def _mount_path(text: str) -> str:
    if ":" in text or ".." in text.split("/") or plain_path(text) == "/":
        raise ValueError('a mount has a folder of its own, not "/", and no ":" and no ".." in it')
    return text


def _sub_path(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise ValueError('must be relative to the volume, without ".."')
    return text


Cores = Annotated[str, Field(pattern=r"^\d+(\.\d+)?m?$"), AfterValidator(_more_than_nothing)]
# Kubernetes reads 1000k and no 1000K, kfp the reverse; binary kibibytes both of them.
Memory = Annotated[
    str, Field(pattern=r"^\d+(\.\d+)?(Ki|[MGT]i?)$"), AfterValidator(_more_than_nothing)
]
KubernetesName = Annotated[str, AfterValidator(_object_name)]
Namespace = Annotated[str, AfterValidator(_namespace)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
ExtendedResource = Annotated[str, AfterValidator(_extended_resource)]
SecretKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$"), AfterValidator(_secret_key)]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
MountPath = Annotated[str, Field(pattern=r"^/"), AfterValidator(_mount_path)]
SubPath = Annotated[str, AfterValidator(_sub_path)]
