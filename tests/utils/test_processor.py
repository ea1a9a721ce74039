"""Test the processor's features on a system other than Linux."""

from utils import processor


def test_elsewhere_than_on_linux(monkeypatch):
    monkeypatch.setattr(processor.Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert processor.processor() == "" and not processor.has_bfloat16()
