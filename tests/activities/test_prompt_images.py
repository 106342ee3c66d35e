"""Images for a model: addresses are passed on, files and bytes become data URLs, and nothing else of a machine does."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from headgate.activities import prompt_images
from headgate.activities.prompt_images import image_urls, split_parts
from headgate.activities.prompt_parameters import request_of
from headgate.authoring import load_definition
from headgate.ports import Attempt

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
WEBP = b"RIFF\0\0\0\0WEBPVP8 "
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def test_an_address_and_a_data_url_are_passed_on():
    assert image_urls(["https://a.test/x.png", PNG_URL], "images") == ("https://a.test/x.png", PNG_URL)


def test_a_file_and_bytes_become_data_urls_of_what_they_are(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(PNG)  # its name says another thing than its bytes

    found = image_urls([str(tmp_path / "a.jpg"), {"data": base64.b64encode(WEBP).decode()}], "images")

    assert found == (PNG_URL, "data:image/webp;base64," + base64.b64encode(WEBP).decode())


def test_a_file_that_is_no_image_is_refused_and_none_of_it_is_shown(tmp_path: Path):
    (tmp_path / "passwords").write_text("hush-hush")

    with pytest.raises(Attempt, match="first bytes are none's") as caught:
        image_urls([{"path": str(tmp_path / "passwords")}], "images")

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("how", ["path", "data"])
def test_an_image_above_the_bound_is_refused(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompt_images, "IMAGE_BYTES_MAX", 10)
    (tmp_path / "a.png").write_bytes(PNG)
    given = {"path": str(tmp_path / "a.png"), "data": base64.b64encode(PNG).decode()}[how]

    with pytest.raises(Attempt, match="to have at most"):
        image_urls([{how: given}], "images")


def test_more_images_than_the_bound_are_refused():
    with pytest.raises(Attempt, match="at most 50 images, got 51"):
        image_urls(["https://a.test/x.png"] * 51, "images")


def test_the_images_of_a_prompt_go_with_the_last_message_of_the_user():
    messages: list[Any] = [
        {"role": "user", "content": "First."},
        {"role": "assistant", "content": "Yes?"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": PNG_URL}],
        },
    ]

    request = request_of({"messages": messages, "images": "https://a.test/x.png"}, max_tokens_default=None)

    assert [message.images for message in request.messages] == [(), (), (PNG_URL, "https://a.test/x.png")]
    assert request.messages[2].content == "And this?"


def test_a_list_that_is_no_list_of_parts_stays_what_it_is():
    assert split_parts([{"type": "text"}, 3]) == ([{"type": "text"}, 3], [])


def test_a_workflow_may_name_images():
    load_definition(
        "name: sees\nactivities: {look: {use: llm_prompt, with: {model: demo/large, prompt: What?, images: [a.png]}}}"
    )
