"""Pictures of reports: small, of the size asked for, and never blank."""

import pytest
from PIL import Image

from scripts import pictures


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """A browser that photographs what it is told to."""

    def shows(image):
        image.save(tmp_path / "shown.png")
        program = tmp_path / "chromium"
        program.write_text(
            "#!/bin/bash\nfor word; do case $word in --screenshot=*) "
            f'cp {tmp_path}/shown.png "${{word#*=}}";; esac; done\necho "$*" >{tmp_path}/called\n'
        )
        program.chmod(0o755)
        monkeypatch.setattr(pictures.shutil, "which", lambda name: str(program))

    return shows


def test_a_picture_has_a_palette_and_the_size_that_was_asked_for(browser, tmp_path):
    colourful = Image.linear_gradient("L").resize((1185, 1050)).convert("RGB")
    browser(colourful)
    pictures.picture(tmp_path / "page.html", tmp_path / "out" / "x.png", height=900)
    with Image.open(tmp_path / "out" / "x.png") as made:
        assert (made.size, made.mode) == ((1185, 900), "P")
    called = (tmp_path / "called").read_text()
    assert "--window-size=1185,1050" in called
    assert f"file://{tmp_path}/page.html" in called


def test_a_page_names_no_folder_of_the_machine_that_it_was_made_on(tmp_path):
    run = tmp_path / "there" / "runs" / "shapes"
    run.mkdir(parents=True)
    (run / "index.html").write_text(f"<code>{run}/models</code>")
    shown = pictures.neutral(run / "index.html", run, tmp_path)
    assert shown.read_text() == "<code>/home/ada/kfdet/runs/shapes/models</code>"


def test_a_blank_picture_is_refused(browser, tmp_path):
    browser(Image.new("RGB", (1185, 1050), "white"))
    with pytest.raises(SystemExit, match="is blank"):
        pictures.picture(tmp_path / "page.html", tmp_path / "x.png", height=900)
    assert not (tmp_path / "x.png").exists()


def test_without_a_browser_or_a_run_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install chromium"):
        pictures.picture(tmp_path / "page.html", tmp_path / "x.png", height=900)
    monkeypatch.setattr("sys.argv", ["pictures.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="make demo"):
        pictures.main()
