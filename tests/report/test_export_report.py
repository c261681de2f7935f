import ast
import re
import shlex

from checks import check_page, text_of
from evaluation_cases import write_export

from kfdet.report.export import export_page


def test_an_export_s_page_says_how_to_call_it_and_what_is_in_it(tmp_path):
    exported = write_export(tmp_path)
    html = export_page(exported, exported.parity, folder="exports/abc")
    check_page(html)
    text = text_of(html)
    for part in ("exports/abc/saved_model", "serving_default", "circle", exported.content_digest):
        assert part in text
    assert "refused" not in text


def test_a_refused_export_s_page_shows_the_difference(tmp_path):
    proof = write_export(tmp_path, parity=False).parity
    html = export_page(None, proof, folder="exports/abc")
    check_page(html)
    assert "refused" in text_of(html)
    assert "nothing was left behind" in text_of(html)


def test_a_folder_is_quoted_in_what_one_may_copy(tmp_path):
    exported = write_export(tmp_path)
    folder = 'my "exports"/$(rm -rf ~); x'
    text = text_of(export_page(exported, exported.parity, folder=folder))
    assert f"kfdet predict {shlex.quote(folder)} image.jpg" in text
    (call,) = re.findall(r"tf\.saved_model\.load\((.*)\) found =", text)
    assert ast.literal_eval(call) == f"{folder}/saved_model"
