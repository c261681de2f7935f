"""The model registry: numbered versions and one champion, in a plain folder or a bucket.

    <registry>/<model>/versions/000001/   the export's files, export.json, metrics.json,
                                          decision.json, model_card.md, version.json, and
                                          the folder evidence, that the metrics follow from
    .../versions/000001/measured/<split>/ metrics.json of its export on other images, and a folder
                                          evidence/<digest> that they follow from; <split>-<settings>
                                          where these are not COCO's
    <registry>/<model>/champion.json      which version is the champion

A version appears whole, under a number that nobody else has. Publishers need no lock: who finds his
number taken looks again and takes the next. The pointer is replaced only while it is what it was
when it was looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kfdet.core.evidence import Evidence
from kfdet.core.gating import Champion
from kfdet.errors import ArtifactError, ConfigError
from kfdet.schema.export import (
    EXPORT_FILE,
    ChampionPointer,
    ExportManifest,
    FileDigest,
    RegistryVersion,
)
from kfdet.schema.gate import Decision
from kfdet.schema.metrics import CocoSettings, Metrics
from kfdet.storage.atomic import write_text
from kfdet.storage.copies import local_folder
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.evidence import EVIDENCE_FOLDER, evidence_digest, read_evidence
from kfdet.storage.exports import content_digest
from kfdet.storage.locations import join, name_of
from kfdet.storage.shelves import VERSION_FILE, shelf_of
from kfdet.storage.stores import NOTHING, StaleGeneration, store_of

CHAMPION_FILE = "champion.json"
METRICS_FILE = "metrics.json"
DECISION_FILE = "decision.json"
MODEL_CARD_FILE = "model_card.md"
_VERSIONS = "versions"
_MEASURED = "measured"
_OWN_FILES = {EXPORT_FILE, VERSION_FILE, METRICS_FILE, DECISION_FILE, MODEL_CARD_FILE}
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is to be published.

    Attributes:
        folder: Folder of the export.
        export: Its manifest.
        metrics, decision: What let it out.
        evidence: Folder that the metrics follow from; None for metrics that name none.
        run: Name of the run, for the record.
        created: Date and time, ISO 8601.
        model_card: Writes the model card of a version, given its number.
    """

    folder: Path
    export: ExportManifest
    metrics: Metrics
    decision: Decision
    run: str
    created: str
    model_card: Callable[[int], str]
    evidence: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """Attributes:
    version: The record of the version.
    folder: Where it lies.
    already_published: It was there before.
    """

    version: RegistryVersion
    folder: str
    already_published: bool


class ModelRegistry:
    """One model's part of a registry.

    Args:
        root: Folder of the registry, or gs:// address; made when the first version is published.
        model: Name of the model.

    Raises:
        ConfigError: The root is in neither a folder nor a bucket, or the name is no plain file name.
    """

    def __init__(self, root: Path | str, *, model: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", model):
            raise ConfigError(
                f'"{model}" can\'t name a model',
                where="registry.model",
                expected="letters, digits, dots, hyphens and underscores",
            )
        self.model = model
        self._root = str(root)
        self._folder = join(root, model)
        self._shelf = shelf_of(join(self._folder, _VERSIONS))

    def champion(self) -> Champion | None:
        """Returns the published model that counts, or None when nothing was published yet.

        Raises:
            ArtifactError: The registry is damaged: a pointer without its version, versions
                without a pointer, or files that contradict each other.
        """
        pointer = self._pointer()
        if pointer is None:
            left = self._shelf.numbers()
            if left:
                raise ArtifactError(
                    f"{CHAMPION_FILE} is missing, though version {max(left)} is there",
                    where=self._folder,
                    expected="a champion beside the versions",
                    remedy="A publish was cut short: repeat it, or delete the versions' folder.",
                )
            return None
        version = self._read_version(pointer.version)
        folder = self._shelf.version(pointer.version)
        if version.export_digest != pointer.export_digest:
            raise ArtifactError(
                f"{CHAMPION_FILE} names export {pointer.export_digest[:12]}",
                where=join(folder, VERSION_FILE),
                expected=f"the same digest, but it is {version.export_digest[:12]}",
                remedy="Restore the registry from a copy.",
            )
        metrics = read_document(Metrics, join(folder, METRICS_FILE))
        decision = read_document(Decision, join(folder, DECISION_FILE))
        if metrics.fingerprint() != decision.metrics_digest:
            raise ArtifactError(
                "is not what the version's decision was made on",
                where=join(folder, METRICS_FILE),
                expected=f"metrics with digest {decision.metrics_digest[:12]}",
                remedy="It was changed after publishing: restore it from a copy.",
            )
        return Champion(
            version=version.version,
            metrics=metrics,
            checkpoint_digest=version.checkpoint_digest,
        )

    def others(self) -> tuple[str, ...]:
        """Returns the names of the other models that have a champion in this registry."""
        files = {one.location for one in store_of(self._root).list(f"{self._root.rstrip('/')}/")}
        names = {name_of(place.rpartition("/")[0]) for place in files}
        return tuple(
            sorted(
                name
                for name in names - {self.model}
                if join(self._root, name, CHAMPION_FILE) in files
            )
        )

    def exports(self) -> dict[int, ExportManifest]:
        """Returns the export of every version up to the champion, oldest first.

        Raises:
            ArtifactError: The registry is damaged.
        """
        pointer = self._pointer()
        champion = pointer.version if pointer else 0
        return {
            number: read_document(ExportManifest, join(self._shelf.version(number), EXPORT_FILE))
            for number in sorted(self._shelf.numbers())
            if number <= champion
        }

    def evidence(self, champion: Champion) -> Evidence | None:
        """Returns what a champion's metrics follow from, or None where it was not kept.

        Raises:
            ArtifactError: It is not what the metrics name.
        """
        digest = champion.metrics.evidence_digest
        if digest is None:
            return None
        if champion.measured_again:
            place = self._measured_evidence(champion, champion.metrics)
        else:
            place = join(self._shelf.version(champion.version), EVIDENCE_FOLDER)
        if not store_of(place).list(f"{place}/"):
            return None
        return read_evidence(local_folder(place), images=champion.metrics.images, digest=digest)

    def export(self, champion: Champion) -> tuple[str, ExportManifest]:
        """Returns where a champion's export lies, and its manifest."""
        place = self._shelf.version(champion.version)
        return place, read_document(ExportManifest, join(place, EXPORT_FILE))

    def measured_on(
        self, champion: Champion, *, split_digest: str, settings: CocoSettings
    ) -> Champion | None:
        """Returns a champion with its metrics on a split by some settings, or None without any.

        Raises:
            ArtifactError: What lies there was measured on other images or by other settings, or of
                another export.
        """
        published = champion.metrics
        if (published.split_digest, published.settings) == (split_digest, settings):
            return champion
        place = join(self._measured(champion, split_digest, settings), METRICS_FILE)
        if store_of(place).find(place) is None:
            return None
        metrics = read_document(Metrics, place)
        self._check_measured(
            metrics, champion, split_digest=split_digest, settings=settings, where=place
        )
        return dataclasses.replace(champion, metrics=metrics, measured_again=True)

    def record(self, metrics: Metrics, evidence: Path) -> int:
        """Keeps what the champion's export scored on other images, or by other settings.

        What is kept already stays. The metrics are written last: without them nothing is there.
        Several runs may do it at the same time: the first to write its metrics is the one that counts.

        Returns:
            The champion's version.

        Raises:
            ArtifactError: There is no champion, the metrics are not those of its export, or the
                evidence is not what they follow from.
        """
        champion = self.champion()
        if champion is None:
            raise ArtifactError("there is no champion", where=self._folder)
        split, settings = metrics.split_digest, metrics.settings
        self._check_measured(
            metrics, champion, split_digest=split, settings=settings, where="the metrics"
        )
        _check_evidence(metrics, evidence)
        if self.measured_on(champion, split_digest=split, settings=settings) is None:
            if metrics.evidence_digest is not None:
                for file in sorted(path for path in evidence.iterdir() if path.is_file()):
                    there = join(self._measured_evidence(champion, metrics), file.name)
                    store_of(there).upload(file, there)
            place = join(self._measured(champion, split, settings), METRICS_FILE)
            with contextlib.suppress(StaleGeneration):
                store_of(place).replace(place, metrics.pretty_json().encode(), expected=NOTHING)
        return champion.version

    def _measured(self, champion: Champion, split_digest: str, settings: CocoSettings) -> str:
        chosen = "" if settings.are_coco else f"-{settings.fingerprint()[:16]}"
        return join(self._shelf.version(champion.version), _MEASURED, f"{split_digest}{chosen}")

    def _measured_evidence(self, champion: Champion, metrics: Metrics) -> str:
        # By its digest: what two runs write at the same time is never mixed.
        folder = self._measured(champion, metrics.split_digest, metrics.settings)
        return join(folder, EVIDENCE_FOLDER, (metrics.evidence_digest or "")[:16])

    def _check_measured(
        self,
        metrics: Metrics,
        champion: Champion,
        *,
        split_digest: str,
        settings: CocoSettings,
        where: str,
    ) -> None:
        _, export = self.export(champion)
        if (metrics.checkpoint_digest, metrics.split_digest, metrics.settings) == (
            export.content_digest, split_digest, settings,
        ):  # fmt: skip
            return
        raise ArtifactError(
            f"of model {metrics.checkpoint_digest[:12]} on split {metrics.split_digest[:12]}",
            where=where,
            expected=f"the export {export.content_digest[:12]} of version {champion.version} on "
            f"{split_digest[:12]}",
            remedy="Another model was published meanwhile: run the pipeline again.",
        )

    def publish(self, submission: Submission) -> Published:
        """Copies an export into a new version and makes it the champion.

        Every file is checked against its digest while it is copied. An export that is the champion
        already is left as it is, so that a repeated publish changes nothing. Publishers may run at
        the same time: each gets a version of its own, and the last one is the champion.

        Raises:
            ArtifactError: A file of the export is missing or differs from its digest, or the
                decision compared with another champion than there is now.
            StorageError: The registry can't be written.
        """
        found = self._published_before(submission)
        if found is not None:
            self._crown(found.version)
            return found
        self._check_champion(submission.decision)
        with self._shelf.staging() as work:
            copy_export(submission.folder, submission.export, to=work)
            write_document(work / METRICS_FILE, submission.metrics)
            if submission.evidence is not None:
                _copy_evidence(submission.metrics, submission.evidence, to=work / EVIDENCE_FOLDER)
            write_document(work / DECISION_FILE, submission.decision)
            published = self._place(submission, work)
        self._crown(published.version)
        return published

    def _place(self, submission: Submission, work: Path) -> Published:
        """Makes the prepared files the next version.

        Where its number is taken, whoever took it may have published the same export or become the
        champion, so both are looked at again before the next attempt.
        """

        def still_wanted() -> bool:
            self._check_champion(submission.decision)
            return self._published_before(submission) is None

        while True:
            found = self._published_before(submission)
            if found is not None:
                return found
            self._check_champion(submission.decision)
            number = self._shelf.next_number()
            version = RegistryVersion(
                model=self.model,
                version=number,
                export_digest=submission.export.content_digest,
                checkpoint_digest=submission.export.checkpoint_digest,
                split_digest=submission.metrics.split_digest,
                created=submission.created,
                run=submission.run,
            )
            write_text(work / MODEL_CARD_FILE, submission.model_card(number))
            write_document(work / VERSION_FILE, version)
            if self._shelf.place(work, number, still_wanted=still_wanted):
                folder = self._shelf.version(number)
                return Published(version=version, folder=folder, already_published=False)

    def _published_before(self, submission: Submission) -> Published | None:
        """Returns the version that holds this export, if it is the champion or about to be.

        The latest version is about to be when its publisher has not yet moved the pointer, or was
        killed before he could.
        """
        pointer = self._pointer()
        champion = pointer.version if pointer else 0
        latest = max(self._shelf.numbers(), default=0)
        for number in dict.fromkeys((champion, max(champion, latest))):
            if number == 0:
                continue
            version = self._read_version(number)
            if version.export_digest == submission.export.content_digest:
                folder = self._shelf.version(number)
                return Published(version=version, folder=folder, already_published=True)
        return None

    def _check_champion(self, decision: Decision) -> None:
        if not any(rule.champion for rule in decision.policy.rules):
            return
        pointer = self._pointer()
        now = pointer.version if pointer else None
        if now != decision.champion_version:
            raise ArtifactError(
                f"the decision compared with {_named(decision.champion_version)}, "
                f"but now there is {_named(now)}",
                where=self._folder,
                remedy="Another model was published meanwhile: run the gate again.",
            )

    def _crown(self, version: RegistryVersion) -> None:
        """Points the champion at a version, or at a later one that appeared meanwhile.

        A pointer that somebody has set back to an older version stays when that is published again.
        Several publishers may come here at once. Each looks once more after writing, so that the
        last word is the highest version's, whichever of them writes last.
        """
        pointer = self._pointer()
        if pointer is not None and pointer.version == version.version:
            return
        place = join(self._folder, CHAMPION_FILE)
        store = store_of(place)
        while True:
            # Looked at before it is read: what is read may be newer, and is then not replaced.
            found = store.find(place)
            pointer = self._pointer()
            latest = self._read_version(max(self._shelf.numbers()))
            if pointer is not None and pointer.version == latest.version:
                return
            moved = ChampionPointer(
                model=self.model,
                version=latest.version,
                export_digest=latest.export_digest,
                previous_version=pointer.version if pointer else None,
            )
            with contextlib.suppress(StaleGeneration):
                store.replace(
                    place,
                    moved.pretty_json().encode(),
                    expected=found.generation if found else NOTHING,
                )

    def _pointer(self) -> ChampionPointer | None:
        path = join(self._folder, CHAMPION_FILE)
        return read_document(ChampionPointer, path) if store_of(path).find(path) else None

    def _read_version(self, number: int) -> RegistryVersion:
        path = join(self._shelf.version(number), VERSION_FILE)
        version = read_document(RegistryVersion, path)
        if (version.model, version.version) != (self.model, number):
            raise ArtifactError(
                f"is of version {version.version} of {version.model}",
                where=path,
                expected=f"version {number} of {self.model}",
                remedy="Restore the registry from a copy.",
            )
        return version


def copy_export(folder: Path, export: ExportManifest, *, to: Path) -> None:
    """Copies the files that an export's manifest lists, checking each against its digest.

    Raises:
        ArtifactError: A file is missing or differs, has a path that leads out of the folder, or the
            list as a whole is not what `content_digest` says.
    """
    if content_digest(export.files) != export.content_digest:
        raise ArtifactError(
            "content_digest is not that of its files",
            where=str(folder / EXPORT_FILE),
            remedy="Export again.",
        )
    for file in export.files:
        _copy_file(folder, file, to=to)
    write_document(to / EXPORT_FILE, export)


def _copy_evidence(metrics: Metrics, evidence: Path, *, to: Path) -> None:
    _check_evidence(metrics, evidence)
    if metrics.evidence_digest is not None:
        shutil.copytree(evidence, to)


def _check_evidence(metrics: Metrics, evidence: Path) -> None:
    if metrics.evidence_digest is None:
        return
    if evidence_digest(evidence) != metrics.evidence_digest:
        raise ArtifactError(
            "is not what the metrics follow from",
            where=str(evidence),
            expected=f"evidence with digest {metrics.evidence_digest[:12]}",
            remedy="Give the folder that merge wrote beside metrics.json.",
        )


def _copy_file(folder: Path, file: FileDigest, *, to: Path) -> None:
    path = PurePosixPath(file.path)
    own = not path.parts or file.path in _OWN_FILES or path.parts[0] in (EVIDENCE_FOLDER, _MEASURED)
    if path.is_absolute() or ".." in path.parts or own:
        raise ArtifactError(
            f'"{file.path}" can\'t be a file of an export', where=str(folder / EXPORT_FILE)
        )
    source, target = folder / path, to / path
    target.parent.mkdir(parents=True, exist_ok=True)
    whole, size_bytes = hashlib.sha256(), 0
    try:
        with source.open("rb") as reader, target.open("xb") as writer:
            while block := reader.read(_COPY_BYTES):
                whole.update(block)
                size_bytes += len(block)
                writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
    except (FileNotFoundError, IsADirectoryError) as failure:
        raise ArtifactError(
            "the file is missing",
            where=str(source),
            expected=f"{file.size_bytes:,} bytes",
            remedy="Export again.",
        ) from failure
    if size_bytes != file.size_bytes or whole.hexdigest() != file.sha256:
        raise ArtifactError(
            f"has {size_bytes:,} bytes with digest {whole.hexdigest()[:12]}",
            where=str(source),
            expected=f"{file.size_bytes:,} bytes with digest {file.sha256[:12]}",
            remedy="The export was changed after it was written: export again.",
        )


def _named(version: int | None) -> str:
    return "no champion" if version is None else f"version {version}"
