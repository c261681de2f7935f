"""The whole way: raw records in, a gated, exported, published detector out."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import List, Literal

from kfp import dsl
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.graph_component import GraphComponent

from components.champion.component import champion
from components.check.component import check
from components.evaluate.component import evaluate
from components.examine.component import examine
from components.export.component import export
from components.fingerprint.component import fingerprint
from components.gate.component import gate
from components.merge.component import merge
from components.publish.component import publish
from components.record.component import record
from components.render.component import render
from components.select.component import select
from components.train.component import train
from components.validate.component import validate
from components.warmstart.component import warmstart
from kfdet.schema.cluster_config import ClusterConfig, ImagesConfig, ResourcesConfig
from kfdet.schema.run_record import CHAMPION_TASKS
from pipelines.detection_training.placement import place

_DESCRIPTION = "Examine, validate, render, check, train, select, evaluate, merge, gate; if pass: export, publish."


def detection_training(
    resources: ResourcesConfig,
    *,
    cluster: ClusterConfig,
    images: ImagesConfig,
    digest_taken: Literal["before", "in the pipeline"] = "before",
) -> GraphComponent:
    """Returns the pipeline for a cluster.

    Everything about the data, the model and the gate is a parameter. Requests and limits are not:
    kfp 2.17 does not hand a parameter that only they use down into a loop or a condition; nor are
    images, volumes, secrets, placement and patience, which Kubernetes must know beforehand.

    Args:
        resources: Requests of the light, training and inference tasks.
        cluster: Volumes, secrets, placement and patience.
        images: Registry, tag and digests of the images.
        digest_taken: Before: the parameter `data_digest` names the data's bytes. In the pipeline:
            a task of its own reads them each time, for data that only the cluster can read and
            for schedules, whose data change.
    """
    anywhere = functools.partial(place, images=images, cluster=cluster)
    light = functools.partial(anywhere, resources=resources.light, policy=cluster.light)
    inference = functools.partial(anywhere, resources=resources.inference, policy=cluster.inference)
    on_trainers = functools.partial(anywhere, resources=resources.train, policy=cluster.train)

    champion_on_the_same_images = _champion_on_the_same_images(light=light, inference=inference)

    @dsl.pipeline(
        name="detection-training",
        description=_DESCRIPTION,
        pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=cluster.ttl_s),
    )
    def pipeline(
        run_name: str,
        dataset: str,
        data_digest: str,
        detector: str,
        training: str,
        policy: str,
        feasibility: str,
        parity: str,
        model_root: str,
        registry: str,
        model: str,
        groups: List[int] = [0],  # noqa: B006 kfp reads the default and never changes it
        num_groups: int = 1,
        shards: List[int] = [0, 1],  # noqa: B006 kfp reads the default and never changes it
        num_shards: int = 2,
        evaluation_batch_size: int = 8,
        engine: str = "hotcoco",
        measurement: str = "{}",
        diagnosis: str = "{}",
        select_metric: str = "ap",
    ):
        digest = data_digest
        if digest_taken == "in the pipeline":
            # The bytes may have changed since an equal task ran: never from the cache.
            named = light(fingerprint(dataset=dataset)).set_caching_options(enable_caching=False)
            digest = named.outputs["data_digest"]

        with dsl.ParallelFor(items=groups, name="examine-groups") as group:
            examined = light(
                examine(group=group, num_groups=num_groups, dataset=dataset, data_digest=digest)
            )

        validated = light(
            validate(
                dataset=dataset,
                data_digest=digest,
                groups=dsl.Collected(examined.outputs["examined"]),
            )
        )

        begun = training
        if cluster.start_from == "champion":
            # The champion may have changed: never from the cache, and what follows by its answer.
            started = light(
                warmstart(
                    detector=detector,
                    training=training,
                    model_root=model_root,
                    registry=registry,
                    model=model,
                    manifest=validated.outputs["manifest"],
                )
            ).set_caching_options(enable_caching=False)
            begun = started.outputs["training_begun"]

        rendered = light(
            render(
                detector=detector,
                training=begun,
                manifest=validated.outputs["manifest"],
                statistics=validated.outputs["statistics"],
            )
        )

        checked = light(
            check(
                dataset=dataset,
                policy=policy,
                feasibility=feasibility,
                measurement=measurement,
                experiment=rendered.outputs["experiment"],
                manifest=validated.outputs["manifest"],
            )
        )

        # A gate that can't be reached ends the pipeline in `check`: nothing is trained for it.
        trained = on_trainers(
            train(
                model_root=model_root,
                experiment=rendered.outputs["experiment"],
                manifest=validated.outputs["manifest"],
            )
        ).after(checked)

        selected = inference(
            select(
                metric=select_metric,
                batch_size=evaluation_batch_size,
                engine=engine,
                measurement=measurement,
                experiment=rendered.outputs["experiment"],
                manifest=validated.outputs["manifest"],
                summary=trained.outputs["summary"],
            )
        )

        with dsl.ParallelFor(items=shards, name="evaluate-shards") as shard:
            evaluated = inference(
                evaluate(
                    shard=shard,
                    num_shards=num_shards,
                    split="test",
                    selected=selected.outputs["selected"],
                    batch_size=evaluation_batch_size,
                    experiment=rendered.outputs["experiment"],
                    manifest=validated.outputs["manifest"],
                )
            )

        merged = light(
            merge(
                split="test",
                engine=engine,
                measurement=measurement,
                diagnosis=diagnosis,
                shards=dsl.Collected(evaluated.outputs["detections"]),
                manifest=validated.outputs["manifest"],
                feasibility_json=checked.outputs["feasibility_json"],
            )
        )

        compared = champion_on_the_same_images(
            policy=policy,
            registry=registry,
            model=model,
            shards=shards,
            num_shards=num_shards,
            batch_size=evaluation_batch_size,
            engine=engine,
            measurement=measurement,
            diagnosis=diagnosis,
            experiment=rendered.outputs["experiment"],
            manifest=validated.outputs["manifest"],
        ).after(selected)

        # The champion may have changed since an equal gate ran: never from the cache.
        gated = (
            light(
                gate(
                    policy=policy,
                    registry=registry,
                    model=model,
                    metrics_json=merged.outputs["metrics_json"],
                    evidence=merged.outputs["evidence"],
                )
            )
            .set_caching_options(enable_caching=False)
            .after(compared)
        )

        # The gate has one output parameter, called "Output": kfp.local 2.17 finds no other in a
        # condition, and then runs neither branch.
        with dsl.If(gated.outputs["Output"] == "pass", name="passed"):
            exported = inference(
                export(
                    selected=selected.outputs["selected"],
                    parity=parity,
                    export_root=model_root,
                    experiment=rendered.outputs["experiment"],
                    manifest=validated.outputs["manifest"],
                )
            )
            light(
                publish(
                    export_uri=exported.outputs["export_uri"],
                    registry=registry,
                    model=model,
                    run_name=run_name,
                    decision_json=gated.outputs["decision_json"],
                    metrics_json=merged.outputs["metrics_json"],
                    evidence=merged.outputs["evidence"],
                )
            ).set_caching_options(enable_caching=False)

    return pipeline


def _champion_on_the_same_images(
    *,
    light: Callable[[dsl.PipelineTask], dsl.PipelineTask],
    inference: Callable[[dsl.PipelineTask], dsl.PipelineTask],
) -> GraphComponent:
    """Returns the part of the pipeline that measures the champion on this run's test split.

    It leaves what it finds in the registry, and is a pipeline of its own, since a task can't come
    after a condition that may not hold, but after a pipeline that has one.
    """

    def of_champion(component: BaseComponent) -> Callable[..., dsl.PipelineTask]:
        """Returns a component whose tasks have a name of their own and speak for the gate."""
        named = copy.copy(component)
        name = component.name if component is champion else f"champion-{component.name}"
        assert name in CHAMPION_TASKS
        named.component_spec = dataclasses.replace(component.component_spec, name=name)
        return lambda **inputs: named(**inputs).set_env_variable(name="KFDET_STAGE", value="gate")

    @dsl.pipeline(name="champion-on-the-same-images")
    def pipeline(
        policy: str,
        registry: str,
        model: str,
        shards: List[int],
        num_shards: int,
        batch_size: int,
        engine: str,
        measurement: str,
        diagnosis: str,
        experiment: dsl.Input[dsl.Artifact],
        manifest: dsl.Input[dsl.Artifact],
    ):
        # The champion may have changed since an equal task ran: never from the cache.
        looked = light(
            of_champion(champion)(
                policy=policy,
                registry=registry,
                model=model,
                split="test",
                measurement=measurement,
                manifest=manifest,
            )
        ).set_caching_options(enable_caching=False)
        with dsl.If(looked.outputs["Output"] == "evaluate", name="measured-elsewhere"):
            with dsl.ParallelFor(items=shards, name="evaluate-champion") as shard:
                evaluated = inference(
                    of_champion(evaluate)(
                        shard=shard,
                        num_shards=num_shards,
                        split="test",
                        selected=looked.outputs["selected"],
                        batch_size=batch_size,
                        experiment=experiment,
                        manifest=manifest,
                    )
                )
            merged = light(
                of_champion(merge)(
                    split="test",
                    engine=engine,
                    measurement=measurement,
                    diagnosis=diagnosis,
                    shards=dsl.Collected(evaluated.outputs["detections"]),
                    manifest=manifest,
                )
            )
            light(
                of_champion(record)(
                    registry=registry,
                    model=model,
                    metrics_json=merged.outputs["metrics_json"],
                    evidence=merged.outputs["evidence"],
                )
            ).set_caching_options(enable_caching=False)

    return pipeline
