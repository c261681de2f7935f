"""What lies in a folder of data and is no file is refused at once, and never waited for."""

import os
import signal
import socket

import pytest

from kfdet.storage.regular import open_regular, read_regular, stays_below


@pytest.fixture(autouse=True)
def _no_waiting():
    """Ends a test that waits for a pipe."""
    signal.alarm(20)
    yield
    signal.alarm(0)


def test_files_and_links_to_them_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"x"


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_pipe, "it is a pipe"),
        (make_socket, "it is a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: path.symlink_to("gone"), "it is a link to gone, where there is nothing"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: None, "No such file or directory"),
    ],
)
def test_anything_else_is_refused_and_named(tmp_path, monkeypatch, make, reason):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "thing")
    with pytest.raises(OSError, match="thing") as refused:
        open_regular(tmp_path / "thing")
    assert refused.value.strerror == reason


@pytest.mark.parametrize("name", ["a\0b", "half\ud800", "x" * 5000])
def test_a_name_that_no_file_can_have_is_an_error_like_the_others(tmp_path, name):
    with pytest.raises(OSError, match="no file can have that name|File name too long"):
        open_regular(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "inside"),
    [("a.jpg", True), ("sub/a.jpg", True), ("a..b/..c", True), ("../a", False), ("a/../../b", False),
     ("/etc/passwd", False), ("..", False)],
)  # fmt: skip
def test_names_that_lead_out_of_a_folder_are_known(name, inside):
    assert stays_below(name) is inside
