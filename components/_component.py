"""How a stage becomes a component: a lightweight function on an image that has everything."""

from __future__ import annotations

import functools

from kfp import dsl

from components import _images

light_component = functools.partial(
    dsl.component,
    base_image=_images.LIGHT,
    install_kfp_package=False,
    packages_to_install=[],
)

tensorflow_component = functools.partial(
    dsl.component,
    base_image=_images.TENSORFLOW,
    install_kfp_package=False,
    packages_to_install=[],
)
