"""The whole way: raw records in, a gated, exported, published detector out."""

from typing import List

from kfp import dsl

from components.evaluate.component import evaluate
from components.export.component import export
from components.gate.component import gate
from components.merge.component import merge
from components.publish.component import publish
from components.render.component import render
from components.select.component import select
from components.train.component import train
from components.validate.component import validate


@dsl.pipeline(
    name="detection-training",
    description="Validate, render, train, select, evaluate, merge, gate; if pass: export, publish.",
)
def detection_training(
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
    light_cpu: str = "1",
    light_memory: str = "2Gi",
    train_cpu: str = "4",
    train_memory: str = "16Gi",
    train_gpu_type: str = "nvidia.com/gpu",
    train_gpus: int = 0,
    inference_cpu: str = "2",
    inference_memory: str = "8Gi",
    inference_gpu_type: str = "nvidia.com/gpu",
    inference_gpus: int = 0,
):
    def light(task: dsl.PipelineTask) -> dsl.PipelineTask:
        task.set_cpu_request(light_cpu).set_cpu_limit(light_cpu)
        return task.set_memory_request(light_memory).set_memory_limit(light_memory)

    def inference(task: dsl.PipelineTask) -> dsl.PipelineTask:
        task.set_cpu_request(inference_cpu).set_cpu_limit(inference_cpu)
        task.set_memory_request(inference_memory).set_memory_limit(inference_memory)
        task.set_accelerator_type(inference_gpu_type)
        return task.set_accelerator_limit(inference_gpus)

    validated = light(validate(dataset=dataset, data_digest=data_digest))

    rendered = light(
        render(
            detector=detector,
            training=training,
            manifest=validated.outputs["manifest"],
            statistics=validated.outputs["statistics"],
        )
    )

    trained = train(
        model_root=model_root,
        experiment=rendered.outputs["experiment"],
        manifest=validated.outputs["manifest"],
    )
    trained.set_cpu_request(train_cpu).set_cpu_limit(train_cpu)
    trained.set_memory_request(train_memory).set_memory_limit(train_memory)
    trained.set_accelerator_type(train_gpu_type).set_accelerator_limit(train_gpus)

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
