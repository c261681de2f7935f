"""The whole way: raw records in, a gated, exported, published detector out."""

import functools
from typing import List

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from components.evaluate.component import evaluate
from components.export.component import export
from components.gate.component import gate
from components.merge.component import merge
from components.publish.component import publish
from components.render.component import render
from components.select.component import select
from components.train.component import train
from components.validate.component import validate
from kfdet.schema.run_config import ResourcesConfig, TaskResources

_DESCRIPTION = "Validate, render, train, select, evaluate, merge, gate; if pass: export, publish."


def detection_training(resources: ResourcesConfig) -> GraphComponent:
    """Returns the pipeline for a cluster's resources.

    Everything about the data, the model and the gate is a parameter. Requests and limits are not:
    kfp 2.17 does not hand a parameter that only they use down into a loop or a condition.

    Args:
        resources: Requests of the light, training and inference tasks.
    """
    light = functools.partial(_request, resources=resources.light)
    inference = functools.partial(_request, resources=resources.inference)

    @dsl.pipeline(name="detection-training", description=_DESCRIPTION)
    def pipeline(
        run_name: str,
        dataset: str,
        data_digest: str,
        detector: str,
        training: str,
        policy: str,
        parity: str,
        model_root: str,
        registry: str,
        model: str,
        shards: List[int] = [0, 1],  # noqa: B006 kfp reads the default and never changes it
        num_shards: int = 2,
        evaluation_batch_size: int = 8,
        engine: str = "hotcoco",
        select_metric: str = "ap",
    ):
        validated = light(validate(dataset=dataset, data_digest=data_digest))

        rendered = light(
            render(
                detector=detector,
                training=training,
                manifest=validated.outputs["manifest"],
                statistics=validated.outputs["statistics"],
            )
        )

        trained = _request(
            train(
                model_root=model_root,
                experiment=rendered.outputs["experiment"],
                manifest=validated.outputs["manifest"],
            ),
            resources=resources.train,
        )

        selected = inference(
            select(
                metric=select_metric,
                batch_size=evaluation_batch_size,
                engine=engine,
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
                    checkpoint=selected.outputs["checkpoint"],
                    checkpoint_digest=selected.outputs["checkpoint_digest"],
                    batch_size=evaluation_batch_size,
                    experiment=rendered.outputs["experiment"],
                    manifest=validated.outputs["manifest"],
                )
            )

        merged = light(
            merge(
                split="test",
                engine=engine,
                shards=dsl.Collected(evaluated.outputs["detections"]),
                manifest=validated.outputs["manifest"],
            )
        )

        # The champion may have changed since an equal gate ran: never from the cache.
        gated = light(
            gate(
                policy=policy,
                registry=registry,
                model=model,
                metrics_json=merged.outputs["metrics_json"],
            )
        ).set_caching_options(enable_caching=False)

        with dsl.If(gated.outputs["decision"] == "pass", name="passed"):
            exported = inference(
                export(
                    checkpoint=selected.outputs["checkpoint"],
                    checkpoint_digest=selected.outputs["checkpoint_digest"],
                    checkpoint_step=selected.outputs["checkpoint_step"],
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
                )
            ).set_caching_options(enable_caching=False)

    return pipeline


def _request(task: dsl.PipelineTask, *, resources: TaskResources) -> dsl.PipelineTask:
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.gpus:
        task.set_accelerator_type(resources.gpu_type).set_accelerator_limit(resources.gpus)
    return task
