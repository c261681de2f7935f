from checks import check_page, text_of
from run_cases import HOSTILE, resolved_experiment

from kfdet.report.experiment import experiment_page
from kfdet.schema.dataset import Histogram, ImageSize, SplitStatistics, Statistics


def statistics(images=100):
    split = SplitStatistics(
        images=images,
        images_without_boxes=0,
        boxes=3 * images,
        crowd_boxes=0,
        classes=(),
        image_sizes=(ImageSize(width_px=128, height_px=128, images=images),) if images else (),
        formats={"jpeg": images},
        box_side_px=Histogram(edges=(16.0, 32.0, 64.0), counts=(2 * images, images)),
        box_aspect_ratio=Histogram(edges=(0.9, 1.1), counts=(3 * images,)),
        boxes_per_image=Histogram(edges=(0.0, 5.0), counts=(images,)),
        brightness=Histogram(edges=(0.0, 255.0), counts=(images,)),
    )
    return Statistics(train=split, val=split, test=split)


def written(*, images=100, full="task: {}"):
    return experiment_page(
        resolved_experiment(),
        statistics=statistics(images),
        parameters=1_234_567,
        full=full,
    )


def test_the_page_shows_the_model_the_anchors_and_the_optimisation():
    html = written()
    check_page(html)
    text = text_of(html)
    for part in ("1,234,567", "Anchors and boxes", "end of warm-up"):
        assert part in text


def test_an_empty_training_split_makes_a_page_all_the_same():
    check_page(written(images=0))


def test_the_whole_configuration_is_escaped():
    check_page(written(full=HOSTILE))
