"""Charts as inline SVG: sharp on any screen, coloured by the page's theme, told by colour and by dashes.

The values under the pointer are shown without scripts. None is a gap or a missing bar; NaN and
infinities are refused.
"""

from kfdet.report.charts.bars import bar_chart
from kfdet.report.charts.histograms import histogram_chart
from kfdet.report.charts.lines import Series, line_chart
from kfdet.report.charts.matrix import heatmap

__all__ = ["Series", "bar_chart", "heatmap", "histogram_chart", "line_chart"]
